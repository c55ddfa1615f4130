"""Gathering rows in Triton, and its transpose."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.cuda.scatter import scatter_plan
from geo3d.ops.cuda.segments import segment_sum


@on_device_of_tensors
def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """values [R, C], rows [M] int64 (-1: zeros) -> [M, C]."""
    channels = values.shape[1]
    gathered = values.new_empty((len(rows), channels))
    if gathered.numel() == 0:
        return gathered
    block_rows, block_channels = _blocks(channels)
    grid = (triton.cdiv(len(rows), block_rows), triton.cdiv(channels, block_channels))
    _gather_rows_kernel[grid](values, rows, gathered, len(rows), channels, BLOCK_M=block_rows, BLOCK_C=block_channels)
    return gathered


@on_device_of_tensors
def add_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """values [M, C] summed into [count, C] at rows [M] (-1: dropped).

    Sorted first, so that the sums do not depend on the schedule.
    """
    channels = values.shape[1]
    if values.numel() == 0 or count == 0:
        return values.new_zeros((count, channels))
    return segment_sum(values, *scatter_plan(rows, count))


def _blocks(channels: int) -> tuple[int, int]:
    block_channels = min(256, triton.next_power_of_2(channels))
    return max(1, 2048 // block_channels), block_channels


@triton.jit(do_not_specialize=["M"])
def _gather_rows_kernel(values, rows, gathered, M, C, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr):
    """One program per (block of output rows, block of channels)."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (m < M)[:, None] & (c < C)[None, :]
    row = tl.load(rows + m, m < M, other=-1)
    value = tl.load(values + row[:, None] * C + c[None, :], inside & (row >= 0)[:, None], other=0.0)
    tl.store(gathered + m[:, None] * C + c[None, :], value, inside)
