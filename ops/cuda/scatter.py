"""Reductions over rows that share an index, in Triton, over inputs sorted by output row: the result does not depend on the schedule."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.cuda.segments import segment_exponential_sum, segment_max, segment_sum

KEYS = (torch.int16, torch.int32)  # a sort passes over the bits of a key


@on_device_of_tensors
def scatter_plan(index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Order [N] of the inputs by output row, and the offsets [rows + 1] of each output row in it; the range is not checked."""
    dtype = next((dtype for dtype in KEYS if rows <= torch.iinfo(dtype).max), torch.int64)
    keys, order = torch.where(index < 0, rows, index).to(dtype).sort(stable=True)
    return order, torch.searchsorted(keys, torch.arange(rows + 1, device=index.device, dtype=dtype))


@on_device_of_tensors
def scatter_sum(values: Tensor, order: Tensor, offsets: Tensor, mean: bool) -> Tensor:
    """Sum or mean of values[order[offsets[r]:offsets[r + 1]]] for each r."""
    return segment_sum(values, order, offsets, mean)


@on_device_of_tensors
def scatter_max(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> tuple[Tensor, Tensor]:
    """Largest (smallest) value and its input row [M, C]."""
    return segment_max(values, order, offsets, minimum, True)


@on_device_of_tensors
def scatter_amax(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> Tensor:
    """Largest (smallest) value [M, C] alone."""
    return segment_max(values, order, offsets, minimum, False)[0]


def scatter_select(values: Tensor, winner: Tensor, count: int) -> Tensor:
    """[count, C] zeros with values [M, C] written at the rows winner [M, C]; those with row `count` are dropped."""
    return values.new_zeros((count + 1, values.shape[1])).scatter_(0, winner, values)[:count]


@on_device_of_tensors
def scatter_logsumexp(values: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """log(sum(exp(values))) [M, C]."""
    # infinities are left to the logarithm
    shift = scatter_amax(values, order, offsets, False).nan_to_num(nan=torch.nan, posinf=0.0, neginf=0.0)
    return segment_exponential_sum(values, order, offsets, shift, True)


@on_device_of_tensors
def scatter_softmax(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """Softmax [N, C] among the rows of each output row."""
    result = torch.empty_like(values)
    if result.numel() and len(offsets) > 1:
        top = scatter_amax(values, order, offsets, False)
        total = segment_exponential_sum(values, order, offsets, top, False)
        channels = values.shape[1]
        block_channels = min(128, triton.next_power_of_2(channels))
        block_rows = 1024 // block_channels
        grid = (triton.cdiv(len(values), block_rows), triton.cdiv(channels, block_channels))
        arguments = (values, index, top, total, result, len(values), channels)
        _softmax_kernel[grid](*arguments, BLOCK_N=block_rows, BLOCK_C=block_channels)
        return result
    return result.zero_()


@triton.jit(do_not_specialize=["N"])
def _softmax_kernel(values, index, top, total, result, N, C, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr):
    """One program per (block of input rows, block of channels); rows that are left out are zero."""
    i = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    m = tl.load(index + i, i < N, other=-1)
    inside = (i < N)[:, None] & (c < C)[None, :]
    has = inside & (m >= 0)[:, None]
    source, target = m[:, None] * C + c[None, :], i[:, None] * C + c[None, :]
    sums = tl.load(total + source, has, other=1.0)
    value = tl.load(values + target, has, other=0.0).to(sums.dtype) - tl.load(top + source, has, other=0.0).to(sums.dtype)
    tl.store(result + target, tl.where(has, tl.exp(value) / sums, 0.0).to(result.dtype.element_ty), inside)
