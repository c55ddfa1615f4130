"""Reductions over rows that share an index: every implementation against the definition, gradients and registration."""

from __future__ import annotations

import pytest
import torch
from triton_device import IS_INTERPRETED, NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops import scatter
from geo3d.ops.cpu import scatter as cpu
from geo3d.ops.cpu import segments
from geo3d.ops.cuda import scatter as triton_scatter
from geo3d.ops.cuda import segments as triton_segments
from geo3d.ops.reference import scatter as reference

cuda = OnDevice(triton_scatter)
cuda_segments = OnDevice(triton_segments)

# the logarithm of an empty sum is meant to be minus infinity; Triton's interpreter computes it with numpy, which warns
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log")

CASES = {  # N, C, M
    "no_rows": (0, 3, 4),
    "no_outputs": (5, 3, 0),
    "no_channels": (5, 0, 3),
    "one": (1, 1, 1),
    "odd": (63, 5, 7),
    "mostly_empty_outputs": (40, 3, 100),
    "wide": (20, 150, 6),
}
IMPLEMENTATIONS = {  # each takes values and a plan
    "cpu_sum": lambda v, p: segments.segment_sum(v, p.order, p.offsets),
    "cpu_mean": lambda v, p: segments.segment_sum(v, p.order, p.offsets, mean=True),
    "cpu_max": lambda v, p: cpu.scatter_max(v, p.order, p.offsets, False),
    "cpu_min": lambda v, p: cpu.scatter_max(v, p.order, p.offsets, True),
    "cpu_amax": lambda v, p: cpu.scatter_amax(v, p.order, p.offsets, False),
    "cpu_amin": lambda v, p: cpu.scatter_amax(v, p.order, p.offsets, True),
    "cpu_softmax": lambda v, p: cpu.scatter_softmax(v, *p),
    "cpu_logsumexp": lambda v, p: cpu.scatter_logsumexp(v, *p),
    "triton_sum": lambda v, p: cuda.scatter_sum(v, p.order, p.offsets, False),
    "triton_mean": lambda v, p: cuda.scatter_sum(v, p.order, p.offsets, True),
    "triton_max": lambda v, p: cuda.scatter_max(v, p.order, p.offsets, False),
    "triton_min": lambda v, p: cuda.scatter_max(v, p.order, p.offsets, True),
    "triton_amax": lambda v, p: cuda.scatter_amax(v, p.order, p.offsets, False),
    "triton_amin": lambda v, p: cuda.scatter_amax(v, p.order, p.offsets, True),
    "triton_softmax": lambda v, p: cuda.scatter_softmax(v, *p),
    "triton_logsumexp": lambda v, p: cuda.scatter_logsumexp(v, p.order, p.offsets),
}
EXACT = {"rtol": 0, "atol": 0}
REDUCTIONS = ("sum", "mean", "max", "min", "amax", "amin", "softmax", "logsumexp")


def definition(reduction):
    if reduction in ("amax", "amin"):
        return lambda *arguments: getattr(reference, f"scatter_{reduction[1:]}")(*arguments)[0]
    return getattr(reference, f"scatter_{reduction}")


def public(reduction):
    return getattr(scatter, f"scatter_{reduction}")


@pytest.fixture(params=CASES)
def case(request):
    """Integer values, so that ties happen and sums are exact in any order; some rows are left out."""
    count, channels, rows = CASES[request.param]
    return torch.randint(-9, 9, (count, channels)).float(), torch.randint(-1, rows, (count,)), rows


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, case):
    values, index, rows = case
    reduction = name.split("_")[1]
    result = IMPLEMENTATIONS[name](values, scatter.scatter_plan(index, rows))
    exact = EXACT if reduction in ("sum", "max", "min", "amax", "amin") else {}
    torch.testing.assert_close(result, definition(reduction)(values, index, rows), **exact)


@pytest.mark.parametrize("rows", [0, 1, 9])
@pytest.mark.parametrize("plan", [cpu.scatter_plan, cuda.scatter_plan], ids=["cpu", "torch_sort"])
def test_plan_groups_rows_in_their_order(plan, rows):
    index = torch.randint(-1, rows, (50,))
    order, offsets = plan(index, rows)
    groups = [(index == row).nonzero()[:, 0] for row in range(rows)]
    assert torch.equal(order, torch.cat([*groups, (index < 0).nonzero()[:, 0]]))
    assert offsets.tolist() == [0, *torch.tensor([len(group) for group in groups]).cumsum(0).tolist()]


def test_plan_serves_in_place_of_the_index():
    values, index = torch.rand(30, 4), torch.randint(-1, 6, (30,))
    plan = scatter.scatter_plan(index, 6)
    assert plan.rows == 6 and torch.equal(plan.counts, torch.bincount(index[index >= 0], minlength=6))
    for reduction in REDUCTIONS:
        torch.testing.assert_close(public(reduction)(values, plan), public(reduction)(values, index, 6), **EXACT)


@pytest.mark.parametrize(
    "index", [[0, 0, 1, 3, 3], [0, 2, 2, -1, -1], [-1, 0, 1, 1, 3]], ids=["sorted", "left_out_last", "left_out_first"]
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_sorted_index(reduction, index):
    values, index = torch.rand(5, 2), torch.tensor(index)
    torch.testing.assert_close(public(reduction)(values, index, 4), definition(reduction)(values, index, 4))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_any_trailing_shape_strides_and_int32(reduction):
    values, index = torch.rand(4, 3, 20).permute(2, 0, 1), torch.randint(0, 5, (40,), dtype=torch.int32)[::2]
    expected = definition(reduction)(values.reshape(20, 12), index.long(), 5)
    for result, flat in zip(_tuple(public(reduction)(values, index, 5)), _tuple(expected), strict=True):
        torch.testing.assert_close(result, flat.view(-1, 4, 3))
    scalars = public(reduction)(values[:, 0, 0], index, 5)
    for result, flat in zip(_tuple(scalars), _tuple(expected), strict=True):
        torch.testing.assert_close(result, flat[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_half_precision_is_computed_in_float32(name, dtype):
    values, index = torch.randn(40, 3).to(dtype), torch.randint(0, 4, (40,))
    result = IMPLEMENTATIONS[name](values, scatter.scatter_plan(index, 4))
    expected = definition(name.split("_")[1])(values.float(), index, 4)
    for ours, full in zip(_tuple(result), _tuple(expected), strict=True):
        # one rounding to half at the end, after a float32 sum in another order
        torch.testing.assert_close(ours, full.to(ours.dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("name", ["cpu_sum", "triton_sum"])
def test_half_precision_sums_keep_their_digits(name):
    plan = scatter.scatter_plan(torch.zeros(3000, dtype=torch.int64), 1)
    assert (
        IMPLEMENTATIONS[name](torch.full((3000, 1), 0.25, dtype=torch.float16), plan).item() == 750
    )  # adding halves stops at 512


@pytest.mark.parametrize("name", ["cpu_max", "triton_max", "cpu_min", "triton_min"])
def test_ties_go_to_the_first_row_and_nan_wins(name):
    values = torch.tensor([[1.0, 2], [1, torch.nan], [1, 5], [-torch.inf, torch.nan]])
    best, winner = IMPLEMENTATIONS[name](values, scatter.scatter_plan(torch.tensor([1, 1, 1, 2]), 3))
    assert winner.tolist() == [[4, 4], [0, 1], [3, 3]]
    expected = torch.tensor([[0, 0], [1, torch.nan], [-torch.inf, torch.nan]])
    torch.testing.assert_close(best, expected, equal_nan=True, **EXACT)


@pytest.mark.parametrize("name", ["cpu_amax", "triton_amax", "cpu_amin", "triton_amin"])
def test_nan_wins_without_winners(name):
    values = torch.tensor([[1.0, 2], [1, torch.nan], [1, 5], [-torch.inf, torch.nan]])
    best = IMPLEMENTATIONS[name](values, scatter.scatter_plan(torch.tensor([1, 1, 1, 2]), 3))
    expected = torch.tensor([[0, 0], [1, torch.nan], [-torch.inf, torch.nan]])
    torch.testing.assert_close(best, expected, equal_nan=True, **EXACT)


@pytest.mark.parametrize("name", ["cpu_logsumexp", "triton_logsumexp"])
def test_logsumexp_of_large_values_and_infinities(name):
    values = torch.tensor([[1000.0], [1000], [-torch.inf], [torch.inf], [3]])
    result = IMPLEMENTATIONS[name](values, scatter.scatter_plan(torch.tensor([0, 0, 1, 2, 2]), 4))
    expected = torch.tensor([[1000 + 0.6931472], [-torch.inf], [torch.inf], [-torch.inf]])
    torch.testing.assert_close(result, expected)


def test_left_out_rows_have_no_softmax_and_no_gradient():
    values = torch.tensor([[1e3], [1.0], [2.0]], requires_grad=True)
    softmax = scatter.scatter_softmax(values, torch.tensor([-1, 0, 0]), 1)
    assert softmax[0] == 0 and softmax.sum() == 1
    (softmax[1] + scatter.scatter_logsumexp(values, torch.tensor([-1, 0, 0]), 1)).backward()
    assert values.grad[0] == 0 and bool(values.grad.isfinite().all())


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients(reduction):
    index = torch.tensor([0, 3, -1, 0, 3, 3, 1])
    # distinct values, far apart: a maximum has no gradient at a tie
    values = torch.randperm(14).view(7, 2).double().div(5).requires_grad_()
    used = [0, 1, 3]  # an empty output row has no gradient, and minus infinity as log-sum-exp

    def function(v):
        result = _tuple(public(reduction)(v, index, 4))[0]
        return result if reduction == "softmax" else result[used]

    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(lambda v: function(v) ** 2, values)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_equals_that_of_the_reference(reduction):
    index, gradients = torch.randint(0, 9, (50,)), []
    values, weight = torch.rand(50, 6), torch.rand(50, 6)
    for function in (public(reduction), definition(reduction)):
        leaf = values.clone().requires_grad_()
        result = _tuple(function(leaf, index, 9))[0]
        (result * weight[: len(result)])[result.isfinite()].sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def test_result_does_not_depend_on_the_threads():
    values, index = torch.randn(4000, 40), torch.randint(0, 50, (4000,))
    both = scatter.scatter_sum(values, index, 50), scatter.scatter_max(values, index, 50)
    torch.set_num_threads(1)
    try:
        one = scatter.scatter_sum(values, index, 50), scatter.scatter_max(values, index, 50)
    finally:
        torch.set_num_threads(2)
    torch.testing.assert_close(both, one, **EXACT)


def test_registration():
    count, channels, rows = 12, 2, 5
    values, index = torch.rand(count, channels, requires_grad=True), torch.randint(-1, rows, (count,))
    plan, reduced = scatter.scatter_plan(index, rows), torch.rand(rows, channels, requires_grad=True)
    winner = torch.ops.geo3d.scatter_max(values.detach(), plan.order, plan.offsets, False)[1]
    torch.library.opcheck(torch.ops.geo3d.scatter_plan, (index, rows))
    torch.library.opcheck(torch.ops.geo3d.scatter_sum, (values, *plan, True))
    torch.library.opcheck(torch.ops.geo3d.scatter_spread, (reduced, *plan, True))
    torch.library.opcheck(torch.ops.geo3d.scatter_max, (values, plan.order, plan.offsets, False))
    torch.library.opcheck(torch.ops.geo3d.scatter_amax, (values.detach(), plan.order, plan.offsets, True))
    torch.library.opcheck(torch.ops.geo3d.scatter_select, (reduced, winner, count))
    torch.library.opcheck(torch.ops.geo3d.scatter_softmax, (values, *plan))
    torch.library.opcheck(torch.ops.geo3d.scatter_logsumexp, (values, *plan))


def test_compiles_in_one_graph():
    def function(values, index):
        plan = scatter.scatter_plan(index, 5)
        best, winner = scatter.scatter_max(values, plan)
        return (
            scatter.scatter_softmax(values, plan),
            scatter.scatter_mean(values, plan) + best,
            winner,
            scatter.scatter_amin(values, plan),
        )

    values, index = torch.rand(20, 3), torch.randint(-1, 5, (20,))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(values, index), function(values, index), **EXACT)


@pytest.mark.parametrize(
    ("values", "index", "rows", "message"),
    [
        (torch.rand(4, 2), torch.tensor([0, 1, 2, 3]), 3, r"in \[-1, 3\), got 3 at 3"),
        (torch.rand(2, 2), torch.tensor([0, -2]), 3, r"in \[-1, 3\), got -2 at 1"),
        (torch.rand(4, 2), torch.tensor([0, 1]), 3, r"got \[2\] and \[4, 2\]"),
        (torch.rand(4, 2), torch.rand(4), 3, "int32 or int64"),
        (torch.rand(4, 2), torch.zeros(4, 1, dtype=torch.int64), 3, r"index must be \[N\]"),
        (torch.rand(4, 2), torch.zeros(4, dtype=torch.int64), None, "rows, the number of output rows, is needed"),
        (torch.rand(4, 2), torch.zeros(4, dtype=torch.int64), -1, "must not be negative"),
        (torch.rand(4, 2), scatter.scatter_plan(torch.zeros(4, dtype=torch.int64), 2), 3, "the plan is for 2 rows"),
        (torch.arange(4), torch.zeros(4, dtype=torch.int64), 1, "floating point, got"),
    ],
)
def test_bad_arguments(values, index, rows, message):
    with pytest.raises(ValueError, match=message):
        scatter.scatter_sum(values, index, rows)


@pytest.mark.parametrize("lengths", [(40, 1, 0, 9, 33, 8), (100,), (3, 64, 2, 16, 5)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_long_segments_in_parts(monkeypatch, reduction, lengths):
    """Segments of more rows than a program goes through, between short ones, with ties and NaN across the parts."""
    monkeypatch.setattr(triton_segments, "CHUNK", 8)
    monkeypatch.setattr(triton_segments, "ROWS", 4)
    index = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))[torch.randperm(sum(lengths))]
    index[0] = -1
    values = torch.randint(-9, 9, (len(index), 3)).float()
    if reduction in ("max", "min", "amax", "amin"):
        values[:, 2] = torch.where(torch.rand(len(index)) < 0.1, torch.nan, values[:, 2])
    result = IMPLEMENTATIONS[f"triton_{reduction}"](values, scatter.scatter_plan(index, len(lengths)))
    exact = EXACT if reduction in ("sum", "max", "min", "amax", "amin") else {}
    expected = definition(reduction)(values, index, len(lengths))
    torch.testing.assert_close(result, expected, equal_nan=True, **exact)


@pytest.mark.skipif(not IS_INTERPRETED, reason="counts the rounds of loops in the interpreter")
def test_no_program_goes_through_a_whole_large_segment(monkeypatch):
    """160,000 rows into 4: no loop of a kernel is longer than a part, or than the number of parts of a segment."""
    rounds = -(-40_000 // triton_segments.CHUNK) + triton_segments.CHUNK
    assert rounds < 1000
    longest = []

    def counting(*arguments):
        longest.append(len(range(*(int(value) for value in arguments))))
        return range(*(int(value) for value in arguments))

    for kernel in (triton_segments._parts_kernel, triton_segments._segments_kernel):
        monkeypatch.setitem(kernel.fn.__globals__, "range", counting)
    index = torch.arange(6000) // 3000
    plan = scatter.scatter_plan(index, 2)
    assert cuda_segments.segment_sum(torch.ones(6000, 2), plan.order, plan.offsets).tolist() == [[3000, 3000]] * 2
    assert 0 < max(longest, default=0) <= triton_segments.CHUNK


@pytest.mark.parametrize("rows", [5, 40_000, 3 * 10**9], ids=str)
def test_plans_sort_keys_as_short_as_the_rows_allow(monkeypatch, rows):
    sorts, sort = [], torch.Tensor.sort
    monkeypatch.setattr(torch.Tensor, "sort", lambda keys, **options: sorts.append(keys.dtype) or sort(keys, **options))
    monkeypatch.setattr(torch, "searchsorted", lambda keys, places: places)
    monkeypatch.setattr(torch, "arange", lambda end, **options: torch.empty(0, dtype=options["dtype"]))
    index = torch.tensor([3, -1, 0, 3])
    order, offsets = triton_scatter.scatter_plan(index, rows)
    assert order.tolist() == [2, 0, 3, 1]
    assert sorts == [offsets.dtype] == [{5: torch.int16, 40_000: torch.int32}.get(rows, torch.int64)]


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cuda_equals_cpu(reduction, case):
    values, index, rows = case
    result = public(reduction)(values.cuda(), index.cuda(), rows)
    expected = public(reduction)(values, index, rows)
    for ours, theirs in zip(_tuple(result), _tuple(expected), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs)


def _tuple(result):
    return result if isinstance(result, tuple) else (result,)
