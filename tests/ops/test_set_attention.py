"""Attention among the rows of sets: every implementation against the definition and torch's own module, gradients, registration."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops.cpu import set_attention as cpu
from geo3d.ops.cuda import set_attention as triton_set_attention
from geo3d.ops.reference import set_attention as reference
from geo3d.ops.set_attention import set_attention
from geo3d.ops.windows import set_partition

cuda = OnDevice(triton_set_attention)

IMPLEMENTATIONS = {"cpu": cpu, "triton": cuda}
CASES = {  # rows, channels, heads, rows of each window, set size
    "no_rows": (0, 8, 2, [], 5),
    "one_row": (1, 8, 2, [1], 5),
    "sets_of_one": (7, 6, 3, [3, 4], 1),
    "odd": (60, 72, 3, [1, 10, 25, 17], 9),  # heads of 24 channels; seven rows in no set
    "one_channel_per_head": (20, 5, 5, [20], 7),
    "full_sets": (40, 16, 1, [20, 20], 20),
    "large_sets": (90, 8, 2, [70, 20], 48),
    "sets_of_several_blocks": (100, 6, 2, [90, 10], 90),
}


def make_sets(windows: list[int], set_size: int) -> tuple[Tensor, Tensor]:
    """Sets [S, T] of the rows 0, 1, ... shared out to windows of the given sizes."""
    rows = sum(windows)
    window = torch.repeat_interleave(torch.arange(len(windows)), torch.tensor(windows, dtype=torch.int64))
    place = torch.stack((torch.zeros(rows), torch.zeros(rows), torch.randperm(rows)), 1).long()
    sets, padding = set_partition(window, place, (max(rows, 1), 1, 1), set_size)
    return sets[0], padding[0]


@pytest.fixture(params=CASES)
def case(request):
    """query, key, value, sets, padding, heads; sets shuffled, padded slots lead nowhere, one set of padding alone."""
    count, channels, heads, windows, set_size = CASES[request.param]
    sets, padding = make_sets(windows, set_size)
    sets, padding = sets.masked_fill(padding, -1), padding
    order = torch.randperm(len(sets) + 1)
    sets = torch.cat([sets, torch.full((1, set_size), -1)])[order]
    padding = torch.cat([padding, torch.ones(1, set_size, dtype=torch.bool)])[order]
    return *(2 * torch.randn(count, channels) for _ in range(3)), sets, padding, heads


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, case):
    *_, heads = case
    scale = 0.3
    leaves = [x.double().requires_grad_() for x in case[:3]]  # in float64: two roundings would differ by more than one
    expected = reference.set_attention(*leaves, *case[3:], scale)
    near = partial(torch.testing.assert_close, rtol=1.3e-6, atol=1e-5)  # its own for float32
    near(IMPLEMENTATIONS[name].set_attention(*case, scale).double(), expected)
    grad = torch.randn_like(case[0])
    gradients = IMPLEMENTATIONS[name].set_attention_backward(grad, *case, scale)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, leaves, grad.double()), strict=True):
        near(ours.double(), theirs)


@torch.no_grad()
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_multi_head_attention_of_gathered_slots(name):
    sets, padding = make_sets([5, 30, 12], 9)
    attention = nn.MultiheadAttention(48, 2, batch_first=True)
    features, position = torch.randn(47, 48), torch.randn(47, 48)
    slots = features[sets]
    mixed = attention(slots + position[sets], slots + position[sets], slots, key_padding_mask=padding, need_weights=False)[0]
    expected = torch.zeros(47, 48).index_put((sets[~padding],), mixed[~padding])
    q, k, v = (
        nn.functional.linear(x, weight, bias)
        for x, weight, bias in zip(
            (features + position, features + position, features),
            attention.in_proj_weight.chunk(3),
            attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    ours = attention.out_proj(IMPLEMENTATIONS[name].set_attention(q, k, v, sets, padding, 2, 24**-0.5))
    torch.testing.assert_close(ours, expected)


def test_rows_in_no_set_are_zero_and_padding_is_not_looked_at():
    x = torch.tensor([[1.0], [2], [4], [torch.nan]], requires_grad=True)
    sets, padding = torch.tensor([[0, 2, 99], [-7, 3, 3]]), torch.tensor([[False, False, True], [True, True, True]])
    mixed = set_attention(torch.zeros(4, 1), torch.zeros(4, 1), x, sets, padding, 1)
    assert mixed.flatten().tolist() == [2.5, 0, 2.5, 0]
    assert torch.autograd.grad(mixed.sum(), x)[0].flatten().tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equal_and_extreme_scores(name):
    sets, padding = torch.tensor([[0, 1, 2]]), torch.zeros(1, 3, dtype=torch.bool)
    value = torch.tensor([[0.0], [3], [9]])
    for query, expected in ((0.0, 4), (1e4, 6), (-1e4, 0)):  # equal keys share the weight
        keys = torch.tensor([[0.0], [1], [1]])
        mixed = IMPLEMENTATIONS[name].set_attention(torch.full((3, 1), query), keys, value, sets, padding, 1, 1.0)
        torch.testing.assert_close(mixed, torch.full((3, 1), float(expected)))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_nan_stays_in_its_set(name):
    sets, padding = torch.tensor([[0, 1, 2], [3, 4, 4]]), torch.tensor([[False] * 3, [False, False, True]])
    query, key, value = (torch.rand(5, 4) for _ in range(3))
    key[1], query[2] = torch.nan, torch.nan
    mixed = IMPLEMENTATIONS[name].set_attention(query, key, value, sets, padding, 2, 0.5)
    assert mixed[:3].isnan().all() and mixed[3:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_half_precision(name, dtype):
    sets, padding = make_sets([20, 30], 12)
    query, key, value, grad = (torch.randn(50, 16).to(dtype) for _ in range(4))
    arguments = (sets, padding, 2, 0.35)
    leaves = [x.float().requires_grad_() for x in (query, key, value)]
    expected = reference.set_attention(*leaves, *arguments)
    results = (
        IMPLEMENTATIONS[name].set_attention(query, key, value, *arguments),
        *IMPLEMENTATIONS[name].set_attention_backward(grad, query, key, value, *arguments),
    )
    for ours, full in zip(results, (expected, *torch.autograd.grad(expected, leaves, grad.float())), strict=True):
        assert ours.dtype == dtype
        # weights and result are each rounded to half precision
        torch.testing.assert_close(ours.float(), full, rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)


def test_strides_int32_sets_and_default_scale(case):
    *tensors, sets, padding, heads = case
    strided = [x.t().contiguous().t() for x in tensors]
    ours = set_attention(*strided, sets.int().t().contiguous().t(), padding.t().contiguous().t(), heads)
    scale = 1 / math.sqrt(tensors[0].shape[1] / heads)
    torch.testing.assert_close(ours, reference.set_attention(*case, scale))


def test_gradients():
    sets, padding = make_sets([1, 7, 5], 3)
    inputs = [torch.randn(14, 6, dtype=torch.float64, requires_grad=True) for _ in range(3)]  # the last row is in no set
    assert torch.autograd.gradcheck(lambda q, k, v: set_attention(q, k, v, sets, padding, 2), inputs)  # the definition


def test_result_does_not_depend_on_the_threads():
    sets, padding = make_sets([300, 100], 17)
    tensors = [torch.randn(400, 24) for _ in range(3)]
    both = set_attention(*tensors, sets, padding, 3)
    torch.set_num_threads(1)
    try:
        one = set_attention(*tensors, sets, padding, 3)
    finally:
        torch.set_num_threads(2)
    assert torch.equal(both, one)


def test_autocast_as_torchs_attention():
    sets, padding = make_sets([4, 9], 5)
    x = torch.randn(13, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = set_attention(x, x.bfloat16(), x, sets, padding, 2)
        assert mixed.dtype == nn.functional.scaled_dot_product_attention(x, x.bfloat16(), x).dtype
    torch.testing.assert_close(mixed, set_attention(*[x.bfloat16()] * 3, sets, padding, 2))


def test_registration():
    sets, padding = make_sets([4, 9], 5)
    tensors = [torch.randn(13, 8, requires_grad=True) for _ in range(3)]
    torch.library.opcheck(torch.ops.geo3d.set_attention, (*tensors, sets, padding, 2, 0.5))
    detached = [x.detach() for x in (tensors[0], *tensors)]
    torch.library.opcheck(torch.ops.geo3d.set_attention_backward, (*detached, sets, padding, 2, 0.5))


def test_compiles_in_one_graph():
    sets, padding = make_sets([4, 9], 5)

    def function(q, k, v):
        return set_attention(q, k, v, sets, padding, 2).relu()

    results = []
    for call in (torch.compile(function, fullgraph=True, backend="aot_eager"), function):
        torch.manual_seed(1)
        leaves = [torch.randn(13, 8, requires_grad=True) for _ in range(3)]
        mixed = call(*leaves)
        results.append((mixed.detach(), *torch.autograd.grad(mixed.square().sum(), leaves)))
    torch.testing.assert_close(*results, rtol=0, atol=0)


X, SETS, PADDING = torch.rand(4, 6), torch.tensor([[0, 1], [2, 3]]), torch.zeros(2, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], X, X, SETS, PADDING, 2), r"query must be \[V, C\] floating point, got \[6\]"),
        ((X.long(), X, X, SETS, PADDING, 2), "query must be .* got .* torch.int64"),
        ((X, X[:3], X, SETS, PADDING, 2), r"key must be like query, \[4, 6\] torch.float32 on cpu, got \[3, 6\]"),
        ((X, X, X.half(), SETS, PADDING, 2), "value must be like query, .* got .* torch.float16"),
        ((X, X, X, SETS[0], PADDING, 2), r"sets must be \[S, T\] int32 or int64 on cpu, got \[2\]"),
        ((X, X, X, SETS, PADDING[:1], 2), r"padding must be \[2, 2\] torch.bool on cpu, got \[1, 2\]"),
        ((X, X, X, SETS, PADDING.int(), 2), "padding must be .* got .* torch.int32"),
        ((X, X, X, SETS, PADDING, 4), "heads must divide the channels of query, got 4 heads for 6 channels"),
        ((X, X, X, SETS, PADDING, 0), "heads must divide"),
        ((X, X, X, SETS + 1, PADDING, 2), r"rows in \[0, 4\), got 1 to 4"),
        ((X, X, X, SETS - 1, PADDING, 2), r"rows in \[0, 4\), got -1 to 2"),
        ((X, X, X, SETS // 2, PADDING, 2), "in one slot at most that is no padding, got row 0 in 2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        set_attention(*arguments)


def test_sets_too_large_for_a_tile():
    sets, padding = make_sets([300], 257)
    with pytest.raises(ValueError, match="at most 256 slots, got 257"):
        cuda.set_attention(*[torch.rand(300, 4)] * 3, sets, padding, 1, 0.5)


def test_three_products_of_tf32_are_as_exact_as_float32():
    """What `input_precision="tf32x3"` computes, with 10 bits of mantissa a factor; the interpreter multiplies in float32."""

    def rounded(x):
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    def product(a, b):
        (high_a, low_a), (high_b, low_b) = ((rounded(x), rounded(x - rounded(x))) for x in (a, b))
        return low_a @ high_b + high_a @ low_b + high_a @ high_b

    errors = {"tf32": [], "tf32x3": [], "float32": []}
    for _ in range(20):
        a, b = torch.randn(36, 24), torch.randn(24, 36)
        exact = a.double() @ b.double()
        for name, result in (("tf32", rounded(a) @ rounded(b)), ("tf32x3", product(a, b)), ("float32", a @ b)):
            errors[name].append((result - exact).abs().max())
    worst = {name: max(values) for name, values in errors.items()}
    assert worst["tf32x3"] < 2 * worst["float32"] < 0.01 * worst["tf32"]


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cuda_equals_cpu(dtype, case):
    *tensors, sets, padding, heads = case
    results = []
    for device in ("cuda", "cpu"):
        leaves = [x.to(device, dtype).requires_grad_() for x in tensors]
        mixed = set_attention(*leaves, sets.to(device), padding.to(device), heads)
        gradients = torch.autograd.grad(mixed.square().sum(), leaves)
        results.append([x.detach().cpu() for x in (mixed, *gradients)])
    torch.testing.assert_close(*results)
