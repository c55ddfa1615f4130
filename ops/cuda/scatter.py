"""Reductions over rows that share an index, in Triton, over inputs sorted by output row: the result does not depend on the schedule."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


def scatter_plan(index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """As `geo3d.ops.cpu.scatter.scatter_plan`, without a check of the range."""
    keys, order = torch.where(index < 0, rows, index).sort(stable=True)
    return order, torch.searchsorted(keys, torch.arange(rows + 1, device=index.device))


def scatter_sum(values: Tensor, order: Tensor, offsets: Tensor, mean: bool) -> Tensor:
    """As `geo3d.ops.cpu.segments.segment_sum`."""
    sums = values.new_empty((len(offsets) - 1, values.shape[1]))
    _launch(_sum_kernel, values, order, offsets, sums, MEAN=mean)
    return sums


def scatter_max(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> tuple[Tensor, Tensor]:
    """As `geo3d.ops.cpu.scatter.scatter_max`."""
    best = values.new_empty((len(offsets) - 1, values.shape[1]))
    winner = torch.empty_like(best, dtype=torch.int64)
    _launch(_max_kernel, values, order, offsets, best, winner, len(values), SIGN=-1 if minimum else 1, WINNER=True)
    return best, winner


def scatter_amax(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> Tensor:
    """As `geo3d.ops.cpu.scatter.scatter_amax`."""
    best = values.new_empty((len(offsets) - 1, values.shape[1]))
    _launch(_max_kernel, values, order, offsets, best, order, len(values), SIGN=-1 if minimum else 1, WINNER=False)
    return best


def scatter_select(values: Tensor, winner: Tensor, count: int) -> Tensor:
    """As `geo3d.ops.cpu.scatter.scatter_select`."""
    return values.new_zeros((count + 1, values.shape[1])).scatter_(0, winner, values)[:count]


def scatter_logsumexp(values: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """As `geo3d.ops.cpu.scatter.scatter_logsumexp`."""
    result = values.new_empty((len(offsets) - 1, values.shape[1]))
    _launch(_exponential_kernel, values, order, offsets, result, SOFTMAX=False)
    return result


def scatter_softmax(values: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """As `geo3d.ops.cpu.scatter.scatter_softmax`."""
    result = torch.zeros_like(values)  # rows that are left out stay zero
    _launch(_exponential_kernel, values, order, offsets, result, SOFTMAX=True)
    return result


def _launch(kernel, values: Tensor, order: Tensor, offsets: Tensor, *arguments, **constants) -> None:
    rows, channels = len(offsets) - 1, values.shape[1]
    if rows == 0 or channels == 0:
        return
    block_channels = min(128, triton.next_power_of_2(channels))
    block_rows = 512 // block_channels
    grid = (triton.cdiv(rows, block_rows), triton.cdiv(channels, block_channels))
    kernel[grid](values, order, offsets, *arguments, rows, channels, BLOCK_M=block_rows, BLOCK_C=block_channels, **constants)


@triton.jit
def _sum_kernel(values, order, offsets, sums, M, C, MEAN: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr):
    """One program per (block of output rows m, block of channels); row m sums the inputs order[offsets[m]:offsets[m + 1]]."""
    m, c, begin, count, inside = _block(offsets, M, C, BLOCK_M, BLOCK_C)
    # sums are kept in float32 (float64 for float64), whatever the dtype of the values
    dtype: tl.constexpr = tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros((BLOCK_M, BLOCK_C), dtype)
    for step in range(tl.max(count, 0)):
        i = tl.load(order + begin + step, step < count, other=0)
        has = inside & (step < count)[:, None]
        total += tl.load(values + i[:, None] * C + c[None, :], has, other=0.0).to(dtype)
    if MEAN:
        total = total / tl.maximum(count, 1).to(dtype)[:, None]
    tl.store(sums + m[:, None] * C + c[None, :], total.to(sums.dtype.element_ty), inside)


@triton.jit
def _max_kernel(
    values,
    order,
    offsets,
    best,
    winner,
    N,
    M,
    C,
    SIGN: tl.constexpr,
    WINNER: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program per (block of output rows m, block of channels): the largest SIGN * value, NaN larger than all, and its input row."""
    m, c, begin, count, inside = _block(offsets, M, C, BLOCK_M, BLOCK_C)
    dtype: tl.constexpr = tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32
    top = tl.zeros((BLOCK_M, BLOCK_C), dtype)
    arg = tl.zeros((BLOCK_M, BLOCK_C), tl.int64) + N
    for step in range(tl.max(count, 0)):
        i = tl.load(order + begin + step, step < count, other=0)
        has = inside & (step < count)[:, None]
        value = SIGN * tl.load(values + i[:, None] * C + c[None, :], has, other=0.0).to(dtype)
        is_better = (step == 0) | (value > top) | ((value != value) & (top == top))
        top = tl.where(has & is_better, value, top)
        arg = tl.where(has & is_better, i[:, None], arg)
    tl.store(best + m[:, None] * C + c[None, :], (SIGN * top).to(best.dtype.element_ty), inside)
    if WINNER:
        tl.store(winner + m[:, None] * C + c[None, :], arg, inside)


@triton.jit
def _exponential_kernel(
    values, order, offsets, result, M, C, SOFTMAX: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr
):
    """One program per (block of output rows m, block of channels): log-sum-exp [M, C], or softmax [N, C] of the inputs of row m."""
    m, c, begin, count, inside = _block(offsets, M, C, BLOCK_M, BLOCK_C)
    dtype: tl.constexpr = tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32
    top = tl.full((BLOCK_M, BLOCK_C), float("-inf"), dtype)
    longest = tl.max(count, 0)
    for step in range(longest):
        i = tl.load(order + begin + step, step < count, other=0)
        has = inside & (step < count)[:, None]
        value = tl.load(values + i[:, None] * C + c[None, :], has, other=float("-inf")).to(dtype)
        top = tl.where((value > top) | (value != value), value, top)
    if not SOFTMAX:  # infinities are left to the logarithm
        top = tl.where((top == float("inf")) | (top == float("-inf")), 0.0, top)
    total = tl.zeros((BLOCK_M, BLOCK_C), dtype)
    for step in range(longest):
        i = tl.load(order + begin + step, step < count, other=0)
        has = inside & (step < count)[:, None]
        value = tl.load(values + i[:, None] * C + c[None, :], has, other=0.0).to(dtype)
        total += tl.where(has, tl.exp(value - top), 0.0)
    if SOFTMAX:
        for step in range(longest):
            i = tl.load(order + begin + step, step < count, other=0)
            has = inside & (step < count)[:, None]
            address = i[:, None] * C + c[None, :]
            value = tl.load(values + address, has, other=0.0).to(dtype)
            tl.store(result + address, (tl.exp(value - top) / total).to(result.dtype.element_ty), has)
    else:
        tl.store(result + m[:, None] * C + c[None, :], (tl.log(total) + top).to(result.dtype.element_ty), inside)


@triton.jit
def _block(offsets, M, C, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr):
    """Rows m and channels c of this program, where the inputs of each row begin, how many there are, and what is inside [M, C]."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    begin = tl.load(offsets + m, m < M, other=0)
    count = tl.load(offsets + m + 1, m < M, other=0) - begin
    return m, c, begin, count, (m < M)[:, None] & (c < C)[None, :]
