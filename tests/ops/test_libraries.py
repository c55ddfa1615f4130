"""torch-scatter and spconv in place of our kernels: chosen by the user alone, the same results, errors that name their limits."""

from __future__ import annotations

import subprocess
import sys

import pytest
import stand_in_libraries
import torch
from sparse_grids import SHAPE, make_coords

from geo3d import ops
from geo3d.ops.libraries import choice

REDUCTIONS = ("sum", "mean", "max", "min", "amax", "amin", "softmax", "logsumexp")
CASES = {  # N, C, M
    "no_rows": (0, 3, 4),
    "no_outputs": (5, 3, 0),
    "one": (1, 1, 1),
    "odd": (63, 5, 7),
    "mostly_empty_outputs": (40, 3, 100),
}


@pytest.fixture(autouse=True)
def _default(monkeypatch):
    """Choices and modules of a test end with it."""
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    monkeypatch.setattr(choice, "_chosen", {})
    for name in ("torch_scatter", "spconv"):
        monkeypatch.delitem(sys.modules, f"geo3d.ops.libraries.{name}", raising=False)
        monkeypatch.delattr(f"geo3d.ops.libraries.{name}", raising=False)


def stand_in(monkeypatch, modules):
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(params=["installed", "stand_in"])
def torch_scatter(request, monkeypatch):
    if request.param == "stand_in":
        stand_in(monkeypatch, {"torch_scatter": stand_in_libraries.torch_scatter()})
    return pytest.importorskip("torch_scatter", reason="torch-scatter is an optional peer: pip install torch-scatter")


@pytest.fixture(params=["installed", "stand_in"])
def spconv(request, monkeypatch):
    if request.param == "stand_in":
        stand_in(monkeypatch, stand_in_libraries.spconv())
    else:
        pytest.importorskip("spconv.pytorch", reason="spconv is an optional peer: pip install spconv")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", CASES.values(), ids=CASES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_torch_scatter_gives_the_same(torch_scatter, reduction, size):
    """Distinct values, so that nothing depends on ties; a shape of its own behind the rows; a plan in place of the index."""
    count, channels, rows = size
    values = (torch.randperm(count * channels * 2).float() / 7).view(count, 2, channels).requires_grad_()
    index = torch.randint(-1, rows, (count,), dtype=torch.int32)
    function = getattr(ops, f"scatter_{reduction}")
    ours = function(values, index, rows)
    with ops.use(scatter="torch_scatter"):
        for given in ((index, rows), (ops.scatter_plan(index, rows),)):
            theirs = function(values, *given)
            torch.testing.assert_close(theirs, ours)
    best = ours if isinstance(ours, torch.Tensor) else ours[0]
    weight = torch.rand_like(best)
    if reduction == "logsumexp":  # that of no rows is minus infinity
        best, theirs = best.nan_to_num(neginf=0.0), theirs.nan_to_num(neginf=0.0)
    expected = torch.autograd.grad((best * weight).sum(), values)
    result = torch.autograd.grad(((theirs if isinstance(theirs, torch.Tensor) else theirs[0]) * weight).sum(), values)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_torch_scatter_in_half_precision(torch_scatter, reduction):
    values, index = torch.randn(400, 3).half(), torch.randint(0, 4, (400,))
    function = getattr(ops, f"scatter_{reduction}")
    with ops.use(scatter="torch_scatter"):
        theirs = function(values, index, 4)
    ours = function(values, index, 4)
    pairs = zip(theirs, ours, strict=True) if isinstance(ours, tuple) else [(theirs, ours)]
    for actual, expected in pairs:
        if reduction in ("max", "min") and expected.dtype == torch.int64:
            actual, expected = values.gather(0, actual), values.gather(0, expected)  # equal values are at several rows
        torch.testing.assert_close(actual, expected)


def test_torch_scatter_is_called(torch_scatter, monkeypatch):
    called = []
    original = torch_scatter.scatter_sum
    monkeypatch.setattr(torch_scatter, "scatter_sum", lambda *a, **k: called.append(1) or original(*a, **k))
    values, index = torch.rand(3, 2), torch.tensor([0, 1, 1])
    ops.scatter_sum(values, index, 2)
    assert not called
    with ops.use(scatter="torch_scatter"):
        ops.scatter_sum(values, index, 2)
        assert called == [1]
        with ops.use(scatter="geo3d"):
            ops.scatter_sum(values, index, 2)
        assert called == [1] and choice.chosen("scatter").library == "torch_scatter"
    ops.scatter_sum(values, index, 2)
    assert called == [1]


@pytest.mark.parametrize("index", [[0, 2], [-2, 0]])
def test_torch_scatter_is_not_handed_an_index_out_of_range(torch_scatter, index):
    ops.use(scatter="torch_scatter")
    with pytest.raises(ValueError, match=r"index must be in \[-1, 2\), got "):
        ops.scatter_max(torch.rand(2, 1), torch.tensor(index), 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["no_voxels", "one_voxel", "many"])
def test_spconv_gives_the_same(spconv, name, dtype):
    coords = make_coords(name)
    down = ops.sparse_conv_plan(coords, SHAPE, (3, 2, 3), (2, 1, 3), (1, 0, 1))
    for plan in (ops.submanifold_conv_plan(coords, SHAPE, (5, 3, 1)), down, down.inverse()):
        features = torch.randn(plan.targets.shape[1], 6, dtype=dtype)
        weight, bias = torch.randn(5, *plan.kernel_size[::-1], 6, dtype=dtype), torch.randn(5, dtype=dtype)
        ours = ops.sparse_conv3d(features, weight, plan, bias)
        with ops.use(sparse_conv="spconv"):
            torch.testing.assert_close(ops.sparse_conv3d(features, weight, plan, bias), ours)
            torch.testing.assert_close(ops.sparse_conv3d(features, weight, plan), ours - bias)


def test_spconv_says_what_it_cannot_do(spconv):
    plan, weight = ops.submanifold_conv_plan(make_coords("few"), SHAPE), torch.randn(5, 3, 3, 3, 6)
    features = torch.randn(plan.targets.shape[1], 6)
    ops.use(sparse_conv="spconv")
    with pytest.raises(
        ValueError, match=r"no gradient on the CPU; use torch.no_grad\(\), or geo3d.ops.use\(sparse_conv='geo3d'\)"
    ):
        ops.sparse_conv3d(features, weight.requires_grad_(), plan)
    with torch.no_grad():
        ops.sparse_conv3d(features, weight, plan)
        with pytest.raises(ValueError, match=r"takes torch.float32 or torch.float64 on cpu, got torch.bfloat16"):
            ops.sparse_conv3d(features.bfloat16(), weight.bfloat16(), plan)
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match=r"right on one thread only on the CPU, and torch has 2"):
            ops.sparse_conv3d(features, weight, plan)


def test_tables_of_a_plan_are_converted_once(spconv):
    from geo3d.ops.libraries import spconv as library

    plan = ops.submanifold_conv_plan(make_coords("few"), SHAPE)
    pairs, counts = library._pairs_of(plan.sources)
    assert library._pairs_of(plan.sources)[0] is pairs
    assert torch.equal(counts, (plan.sources >= 0).sum(1))
    del plan
    assert len(library._pairs) == 0


def test_backends_say_what_is_chosen_and_by_what(torch_scatter, spconv, monkeypatch):
    monkeypatch.setenv(choice.VARIABLE, "scatter = torch_scatter")
    with ops.use(sparse_conv="spconv"):
        rows = {row.op: row for row in ops.backends() if row.device == "cpu"}
    assert rows["scatter_sum"].implementation == "torch_scatter"
    assert "chosen by GEO3D_USE: NaN and infinities" in rows["scatter_sum"].reason
    assert rows["sparse_conv3d"].implementation == "spconv"
    assert "chosen by geo3d.ops.use: one thread, no gradient" in rows["sparse_conv3d"].reason
    assert rows["scatter_plan"].implementation == rows["sparse_conv_plan"].implementation == "numba"
    assert "takes our plans" in rows["sparse_conv_plan"].reason
    rows = {row.op: row for row in ops.backends() if row.device == "cpu"}
    assert rows["sparse_conv3d"].implementation == "numba"
    told = ("geo3d.ops.use(sparse_conv='spconv') chooses it", "spconv is not installed, and would not be used unless chosen")
    assert any(words in rows["sparse_conv3d"].reason for words in told)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("scatter=spconv", r"GEO3D_USE: scatter must be one of geo3d, torch_scatter, got 'spconv'"),
        ("spconv", r"GEO3D_USE: expected scatter=LIBRARY or sparse_conv=LIBRARY, got 'spconv'"),
        ("scatter=", r"GEO3D_USE: scatter must be one of geo3d, torch_scatter, got ''"),
    ],
)
def test_bad_environment(monkeypatch, given, message):
    monkeypatch.setenv(choice.VARIABLE, given)
    for _ in range(2):  # it is told every time
        with pytest.raises(ValueError, match=message):
            ops.scatter_sum(torch.rand(2, 1), torch.tensor([0, 0]), 1)


def test_unknown_library():
    with pytest.raises(ValueError, match=r"geo3d.ops.use: scatter must be one of geo3d, torch_scatter, got 'numba'"):
        ops.use(scatter="numba")


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(ImportError, match=r"geo3d.ops.use: scatter=torch_scatter: .*; pip install .*geo3d\[torch-scatter\]"):
        ops.use(scatter="torch_scatter")
    assert choice.chosen("scatter").library == "geo3d"


def test_nothing_is_imported_by_default():
    code = (
        "import sys, torch; from geo3d import ops; ops.scatter_sum(torch.rand(2, 1), torch.tensor([0, 0]), 1); ops.backends()\n"
    )
    code += "print([name for name in ('torch_scatter', 'spconv') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_graph_breaks_at_another_library(torch_scatter):
    """And has our ops in it otherwise, whatever was chosen when the function was compiled before."""

    def function(values, index):
        return ops.scatter_sum(values, index, 3) + 1

    values, index = torch.rand(8, 2), torch.randint(0, 3, (8,))
    compiled = torch.compile(function, backend="eager")
    for name in ("geo3d", "torch_scatter", "geo3d"):
        with ops.use(scatter=name):
            torch.testing.assert_close(compiled(values, index), function(values, index))
            breaks = torch._dynamo.explain(function)(values, index).graph_break_count
            assert (breaks > 0) == (name != "geo3d")
