"""Weighted sums of rows in Triton, and their transpose."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.cuda.scatter import scatter_plan
from geo3d.ops.cuda.segments import segment_sum


@on_device_of_tensors
def weighted_rows(values: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """values [R, C], rows [Q, k] int64 (-1: none), weights [Q, k] -> [Q, C], the weighted sum of the k rows of each query."""
    channels = values.shape[1]
    sums = values.new_empty((len(rows), channels))
    if sums.numel():
        block_channels = min(256, triton.next_power_of_2(channels))
        block_queries = max(1, 2048 // block_channels)
        grid = (triton.cdiv(len(rows), block_queries), triton.cdiv(channels, block_channels))
        _weighted_rows_kernel[grid](
            values, rows, weights, sums, len(rows), channels, K=rows.shape[1], BLOCK_Q=block_queries, BLOCK_C=block_channels
        )
    return sums


@on_device_of_tensors
def add_weighted_rows(values: Tensor, rows: Tensor, weights: Tensor, count: int) -> Tensor:
    """The transpose: weights[q, j] * values[q], values [Q, C], summed into row rows[q, j] of [count, C].

    Sorted first, so that the sums do not depend on the schedule.
    """
    channels = values.shape[1]
    if values.numel() == 0 or count == 0 or rows.numel() == 0:
        return values.new_zeros((count, channels))
    order, offsets = scatter_plan(rows.reshape(-1), count)
    return segment_sum(values, order, offsets, False, weights, rows.shape[1])


@triton.jit(do_not_specialize=["Q"])
def _weighted_rows_kernel(values, rows, weights, sums, Q, C, K: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr):
    """One program per (block of queries, block of channels)."""
    q = tl.program_id(0).to(tl.int64) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (q < Q)[:, None] & (c < C)[None, :]
    # sums are kept in float32 (float64 for float64), whatever the dtype of the values
    total = tl.zeros((BLOCK_Q, BLOCK_C), tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32)
    for j in range(K):
        row = tl.load(rows + q * K + j, q < Q, other=-1)
        weight = tl.load(weights + q * K + j, q < Q, other=0.0).to(total.dtype)
        value = tl.load(values + row[:, None] * C + c[None, :], inside & (row >= 0)[:, None], other=0.0).to(total.dtype)
        total += weight[:, None] * value
    tl.store(sums + q[:, None] * C + c[None, :], total.to(sums.dtype.element_ty), inside)
