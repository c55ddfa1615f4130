"""Weighted sums of rows on the CPU, and their transpose."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.threads import run_ranges


def weighted_rows(values: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """values [R, C], rows [Q, k] int64 (-1: none), weights [Q, k] -> [Q, C], the weighted sum of the k rows of each query."""
    source = _computed(values)
    sums = empty((len(rows), values.shape[1]), source.dtype)
    grain = max(1, 20_000 // max(values.shape[1] * rows.shape[1], 1))
    run_ranges(
        _weighted_rows, len(rows), source.numpy(), rows.numpy(), weights.to(source.dtype).numpy(), sums.numpy(), grain=grain
    )
    return sums.to(values.dtype)


def add_weighted_rows(values: Tensor, rows: Tensor, weights: Tensor, count: int) -> Tensor:
    """The transpose: weights[q, j] * values[q], values [Q, C], summed into row rows[q, j] of [count, C].

    A thread owns a range of output rows and adds in the order of the input.
    """
    source = _computed(values)
    sums = torch.zeros((count, values.shape[1]), dtype=source.dtype)
    if count and rows.numel():
        starts, order = _by_row(rows.numpy(), count)
        grain = max(1, 20_000 * count // max(source.numel(), 1))
        weights = weights.to(source.dtype)
        run_ranges(_add_weighted_rows, count, source.numpy(), order, starts, weights.numpy(), sums.numpy(), grain=grain)
    return sums.to(values.dtype)


def _computed(values: Tensor) -> Tensor:
    """numba has no half precision, and sums of halves lose digits."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


@njit(nogil=True, cache=True)
def _weighted_rows(values, rows, weights, sums, first, last):
    channels = values.shape[1]
    for q in range(first, last):
        for c in range(channels):
            sums[q, c] = 0
        for j in range(rows.shape[1]):
            row, weight = rows[q, j], weights[q, j]
            if row >= 0:
                for c in range(channels):
                    sums[q, c] += weight * values[row, c]


@njit(nogil=True, cache=True)
def _by_row(rows, count):
    """Counting sort: the places q * k + j of output row r are order[starts[r]:starts[r + 1]], in ascending order."""
    queries, k = rows.shape
    starts = np.zeros(count + 1, np.int64)
    for q in range(queries):
        for j in range(k):
            if rows[q, j] >= 0:
                starts[rows[q, j] + 1] += 1
    for r in range(count):
        starts[r + 1] += starts[r]
    order = np.empty(starts[count], np.int64)
    free = starts[:count].copy()
    for q in range(queries):
        for j in range(k):
            row = rows[q, j]
            if row >= 0:
                order[free[row]] = q * k + j
                free[row] += 1
    return starts, order


@njit(nogil=True, cache=True)
def _add_weighted_rows(values, order, starts, weights, sums, first, last):
    channels, k = values.shape[1], weights.shape[1]
    for r in range(first, last):
        for place in range(starts[r], starts[r + 1]):
            q, j = order[place] // k, order[place] % k
            weight = weights[q, j]
            for c in range(channels):
                sums[r, c] += weight * values[q, c]
