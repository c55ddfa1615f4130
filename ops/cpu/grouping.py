"""Gathering rows on the CPU, and its transpose."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.segments import counting_sort, segment_sum


def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """values [R, C], rows [M] int64 (-1: zeros) -> [M, C]."""
    if len(values) == 0 or not len(rows):
        return values.new_zeros(len(rows), values.shape[1])
    none = rows < 0
    some_none = bool(none.any())
    gathered = empty((len(rows), values.shape[1]), values.dtype)
    torch.index_select(values, 0, rows.clamp(min=0) if some_none else rows, out=gathered)
    return gathered.masked_fill_(none[:, None], 0) if some_none else gathered


def add_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """values [M, C] summed into [count, C] at rows [M] (-1: dropped).

    Each thread owns a range of output rows, and adds in the order of the input.
    """
    order, offsets, bad = counting_sort(rows.numpy(), count)
    if bad >= 0:
        raise ValueError(f"add_rows: rows must be in [-1, {count}), got {int(rows[bad])} at {bad}")
    return segment_sum(values, torch.from_numpy(order), torch.from_numpy(offsets))
