"""Gathering rows on the CPU, and its transpose."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges


def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """As `geo3d.ops.reference.grouping.gather_rows`."""
    if len(values) == 0 or not len(rows):
        return values.new_zeros(len(rows), values.shape[1])
    gathered = values.index_select(0, rows.clamp(min=0))
    none = rows < 0
    return gathered.masked_fill_(none[:, None], 0) if bool(none.any()) else gathered


def add_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """As `geo3d.ops.reference.grouping.add_rows`; each thread owns a range of output rows, and adds in the order of the input."""
    half = values.dtype in (torch.float16, torch.bfloat16)  # numba has no half precision, and sums of halves lose digits
    source = values.float() if half else values
    sums = torch.zeros((count, values.shape[1]), dtype=source.dtype)
    if len(rows) and count:
        starts, order = _sorted_rows(rows.numpy(), count)
        grain = max(1, 20_000 * count // max(source.numel(), 1))
        run_ranges(_add_sorted, count, source.numpy(), order, starts, sums.numpy(), grain=grain)
    return sums.to(values.dtype)


@njit(nogil=True, cache=True)
def _sorted_rows(rows, count):
    """Counting sort: the inputs of output row r are order[starts[r]:starts[r + 1]], in their order."""
    starts = np.zeros(count + 1, np.int64)
    for row in rows:
        if row >= 0:
            starts[row + 1] += 1
    for r in range(count):
        starts[r + 1] += starts[r]
    order = np.empty(starts[count], np.int64)
    free = starts[:count].copy()
    for i in range(len(rows)):
        if rows[i] >= 0:
            order[free[rows[i]]] = i
            free[rows[i]] += 1
    return starts, order


@njit(nogil=True, cache=True)
def _add_sorted(values, order, starts, sums, first, last):
    channels = values.shape[1]
    for r in range(first, last):
        for place in range(starts[r], starts[r + 1]):
            i = order[place]
            for c in range(channels):
                sums[r, c] += values[i, c]
