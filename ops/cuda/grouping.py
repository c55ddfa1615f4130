"""Gathering rows in Triton, and its transpose."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """As `geo3d.ops.reference.grouping.gather_rows`."""
    channels = values.shape[1]
    gathered = values.new_empty((len(rows), channels))
    if gathered.numel() == 0:
        return gathered
    block_rows, block_channels = _blocks(channels)
    grid = (triton.cdiv(len(rows), block_rows), triton.cdiv(channels, block_channels))
    _gather_rows_kernel[grid](values, rows, gathered, len(rows), channels, BLOCK_M=block_rows, BLOCK_C=block_channels)
    return gathered


def add_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """As `geo3d.ops.reference.grouping.add_rows`; sorted first, so that the sums do not depend on the schedule."""
    channels = values.shape[1]
    sums = values.new_zeros((count, channels))
    if values.numel() == 0 or count == 0:
        return sums
    order = torch.argsort(rows, stable=True)
    starts = torch.searchsorted(rows[order], torch.arange(count + 1, device=rows.device))
    block_channels = _blocks(channels)[1]
    grid = (count, triton.cdiv(channels, block_channels))
    _add_rows_kernel[grid](values, order, starts, sums, channels, BLOCK_C=block_channels)
    return sums


def _blocks(channels: int) -> tuple[int, int]:
    block_channels = min(256, triton.next_power_of_2(channels))
    return max(1, 2048 // block_channels), block_channels


@triton.jit
def _gather_rows_kernel(values, rows, gathered, M, C, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr):
    """One program per (block of output rows, block of channels)."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (m < M)[:, None] & (c < C)[None, :]
    row = tl.load(rows + m, m < M, other=-1)
    value = tl.load(values + row[:, None] * C + c[None, :], inside & (row >= 0)[:, None], other=0.0)
    tl.store(gathered + m[:, None] * C + c[None, :], value, inside)


@triton.jit
def _add_rows_kernel(values, order, starts, sums, C, BLOCK_C: tl.constexpr):
    """One program per (output row r, block of channels); its inputs are the rows order[starts[r]:starts[r + 1]]."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < C
    # sums are kept in float32 (float64 for float64), whatever the dtype of the values
    total = tl.zeros((BLOCK_C,), tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32)
    for place in range(tl.load(starts + r), tl.load(starts + r + 1)):
        i = tl.load(order + place)
        total += tl.load(values + i * C + c, inside, other=0.0).to(total.dtype)
    tl.store(sums + r * C + c, total.to(sums.dtype.element_ty), inside)
