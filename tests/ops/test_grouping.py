"""Gathering: every implementation against the definition, its gradient and its registration."""

from __future__ import annotations

import pytest
import torch
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d import ops
from geo3d.ops.cpu import grouping as cpu
from geo3d.ops.cuda import grouping as triton_grouping
from geo3d.ops.reference import grouping as reference

cuda = OnDevice(triton_grouping)

CASES = {"no_rows": (4, 3, 0), "one": (1, 1, 1), "odd": (37, 5, 91), "wide": (9, 300, 20), "no_values": (0, 4, 6)}  # R, C, M
GATHER = {"cpu": cpu.gather_rows, "triton": cuda.gather_rows}
ADD = {"cpu": cpu.add_rows, "triton": cuda.add_rows}


@pytest.fixture(params=CASES)
def case(request):
    count, channels, gathered = CASES[request.param]
    values = torch.randint(-50, 50, (count, channels)).float()  # integers: sums are exact in any order
    return values, torch.randint(-1, count, (gathered,)) if count else torch.full((gathered,), -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", GATHER)
def test_gather_equals_reference(name, dtype, case):
    values, rows = case[0].to(dtype), case[1]
    torch.testing.assert_close(GATHER[name](values, rows), reference.gather_rows(values, rows), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ADD)
def test_add_equals_reference(name, dtype, case):
    rows, count = case[1], len(case[0])
    values = torch.randint(-50, 50, (len(rows), case[0].shape[1])).to(dtype)
    torch.testing.assert_close(ADD[name](values, rows, count), reference.add_rows(values, rows, count), rtol=0, atol=0)


@pytest.mark.parametrize("name", ADD)
def test_half_precision_sums_keep_their_digits(name):
    values, rows = torch.full((3000, 2), 0.25, dtype=torch.float16), torch.zeros(3000, dtype=torch.int64)
    assert ADD[name](values, rows, 1).tolist() == [[750, 750]]  # adding in half precision stops at 512


def test_registration(case):
    values, rows = case[0].requires_grad_(), case[1]
    torch.library.opcheck(torch.ops.geo3d.gather_rows, (values, rows))
    torch.library.opcheck(torch.ops.geo3d.add_rows, (torch.rand(len(rows), 2, requires_grad=True), rows, len(values)))


def test_dense_indices_stay_in_their_cloud():
    values, indices = torch.rand(3, 10, 4), torch.randint(0, 10, (3, 5, 2))
    expected = torch.stack([values[b][indices[b]] for b in range(3)])
    assert torch.equal(ops.gather(values, indices), expected)
    assert torch.equal(ops.gather(values, indices.int()), expected)


def test_minus_one_gives_zeros_and_no_gradient():
    values = torch.rand(1, 3, 2, requires_grad=True)
    gathered = ops.gather(values, torch.tensor([[2, -1, 2]]))
    assert gathered[0, 1].tolist() == [0, 0]
    gathered.sum().backward()
    assert values.grad.tolist() == [[[0, 0], [0, 0], [2, 2]]]


def test_a_plan_serves_in_place_of_the_indices_and_is_not_sorted_again(monkeypatch):
    indices = torch.tensor([3, -1, 0, 3, 2])
    plan, results = ops.scatter_plan(indices, 5), []
    for given in (indices, plan):
        leaf = torch.arange(10.0).view(5, 2).requires_grad_()
        gathered = ops.gather(leaf, given)
        if given is plan:  # the transpose of a gather by indices sorts them
            monkeypatch.setattr(cpu, "add_rows", None)
        (gathered * torch.arange(1.0, 6)[:, None]).sum().backward()
        results.append((gathered.detach(), leaf.grad))
    torch.testing.assert_close(*results, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"values must be \[5, C\] for this plan, got \[4, 2\]"):
        ops.gather(torch.rand(4, 2), plan)


def test_gradients():
    values, rows = torch.rand(6, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 5, -1, 0, 2])
    assert torch.autograd.gradcheck(lambda v: ops.gather(v, rows), values)
    assert torch.autograd.gradgradcheck(lambda v: ops.gather(v, rows) ** 2, values)


def test_compiles_in_one_graph():
    function = torch.compile(lambda v, i: ops.gather(v, i) * 2, fullgraph=True, backend="aot_eager")
    values, indices = torch.rand(2, 8, 3), torch.randint(-1, 8, (2, 4))
    assert torch.equal(function(values, indices), ops.gather(values, indices) * 2)


@pytest.mark.parametrize(
    ("values", "indices", "message"),
    [
        (torch.rand(4, 2), torch.tensor([4]), r"in \[-1, 4\), got 4 to 4"),
        (torch.rand(4, 2), torch.tensor([0.5]), "int32 or int64"),
        (torch.rand(2, 4, 2), torch.zeros(3, 1, dtype=torch.int64), r"got \[2, 4, 2\] and \[3, 1\]"),
        (torch.rand(4), torch.tensor([0]), r"values must be \[R, C\]"),
    ],
)
def test_bad_arguments(values, indices, message):
    with pytest.raises(ValueError, match=message):
        ops.gather(values, indices)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu(case):
    values, rows = case
    gathered = torch.ops.geo3d.gather_rows(values.cuda(), rows.cuda())
    assert torch.equal(gathered.cpu(), torch.ops.geo3d.gather_rows(values, rows))
    summed = torch.ops.geo3d.add_rows(gathered, rows.cuda(), len(values))
    assert torch.equal(summed.cpu(), torch.ops.geo3d.add_rows(gathered.cpu(), rows, len(values)))
