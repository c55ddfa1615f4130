"""Reductions over rows that share an index, on the CPU: each thread owns output rows."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.grouping import gather_rows
from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.segments import AHEAD, GRAIN, counting_sort, full_precision, over_rows, prefetch_row, segment_sum
from geo3d.ops.cpu.threads import run_ranges


def scatter_plan(index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Order [N] of the inputs by output row, and the offsets [rows + 1] of each output row in it."""
    order, offsets, bad = counting_sort(index.numpy(), rows)
    if bad >= 0:
        raise ValueError(f"scatter: index must be in [-1, {rows}), got {int(index[bad])} at {bad}")
    return torch.from_numpy(order), torch.from_numpy(offsets)


def scatter_max(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> tuple[Tensor, Tensor]:
    """Largest (smallest) value and its input row [M, C]."""
    source = full_precision(values)
    best = empty((len(offsets) - 1, values.shape[1]), source.dtype)
    winner = empty(best.shape, torch.int64)
    sign = source.numpy().dtype.type(-1 if minimum else 1)
    over_rows(_max_segments, source, order.numpy(), offsets.numpy(), sign, best.numpy(), winner.numpy())
    return best.to(values.dtype), winner


def scatter_amax(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> Tensor:
    """Largest (smallest) value [M, C] alone."""
    source = full_precision(values)
    best = empty((len(offsets) - 1, values.shape[1]), source.dtype)
    sign = source.numpy().dtype.type(-1 if minimum else 1)
    over_rows(_amax_segments, source, order.numpy(), offsets.numpy(), sign, best.numpy())
    return best.to(values.dtype)


def scatter_select(values: Tensor, winner: Tensor, count: int) -> Tensor:
    """[count, C] zeros with values [M, C] written at the rows winner [M, C]; those with row `count` are dropped."""
    source = full_precision(values)
    # zeros from numpy: the system hands out zeroed pages, so that rows without a winner are not written at all
    selected = np.zeros((count, values.shape[1]), source.numpy().dtype)
    grain = max(1, GRAIN // max(values.shape[1], 1))
    run_ranges(_select, len(winner), source.numpy(), winner.numpy(), selected, grain=grain)
    return torch.from_numpy(selected).to(values.dtype)


def scatter_logsumexp(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """log(sum(exp(values))) [M, C]."""
    source = full_precision(values)
    best = scatter_amax(source, order, offsets, False).nan_to_num_(nan=torch.nan, posinf=0, neginf=0)
    total = segment_sum(gather_rows(best, index).neg_().add_(source).exp_(), order, offsets)
    return total.log_().add_(best).to(values.dtype)


def scatter_softmax(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """Softmax [N, C] among the rows of each output row."""
    source = full_precision(values)
    best = scatter_amax(source, order, offsets, False)
    exponential = gather_rows(best, index).neg_().add_(source).exp_()
    exponential.div_(gather_rows(segment_sum(exponential, order, offsets), index))
    exponential[order[offsets[-1] :]] = 0
    return exponential.to(values.dtype)


@njit(nogil=True, cache=True)
def _max_segments(values, order, offsets, sign, best, winner, first, last):
    """Largest sign * value; NaN is larger than all."""
    one, ahead, last_place = np.uint64(1), np.uint64(AHEAD), np.uint64(len(order) - 1)
    count, channels = values.shape[0], np.uint64(values.shape[1])
    top = np.empty(values.shape[1], values.dtype)
    step_of_top = np.empty(values.shape[1], np.int32)  # as narrow as the values, so that the loop over channels is vectorised
    for r in range(np.uint64(first), np.uint64(last)):
        begin, end = np.uint64(offsets[r]), np.uint64(offsets[r + one])
        if begin == end:
            best[r] = 0
            winner[r] = count
            continue
        i = np.uint64(order[begin])
        for c in range(channels):
            top[c] = sign * values[i, c]
            step_of_top[c] = 0
        for step in range(one, end - begin):
            prefetch_row(values, np.uint64(order[min(begin + step + ahead, last_place)]))
            i, narrow_step = np.uint64(order[begin + step]), np.int32(step)
            for c in range(channels):
                value, so_far = sign * values[i, c], top[c]
                is_better = (value > so_far) | ((value != value) & (so_far == so_far))
                top[c] = value if is_better else so_far
                step_of_top[c] = narrow_step if is_better else step_of_top[c]
        for c in range(channels):
            best[r, c] = sign * top[c]
            winner[r, c] = order[begin + np.uint64(step_of_top[c])]


@njit(nogil=True, cache=True)
def _amax_segments(values, order, offsets, sign, best, first, last):
    """Largest sign * value; NaN is larger than all."""
    one, ahead, last_place = np.uint64(1), np.uint64(AHEAD), np.uint64(len(order) - 1)
    channels = np.uint64(values.shape[1])
    for r in range(np.uint64(first), np.uint64(last)):
        begin, end = np.uint64(offsets[r]), np.uint64(offsets[r + one])
        if begin == end:
            best[r] = 0
            continue
        i = np.uint64(order[begin])
        for c in range(channels):
            best[r, c] = sign * values[i, c]
        for place in range(begin + one, end):
            prefetch_row(values, np.uint64(order[min(place + ahead, last_place)]))
            i = np.uint64(order[place])
            for c in range(channels):
                value, so_far = sign * values[i, c], best[r, c]
                best[r, c] = value if (value > so_far) | (value != value) else so_far
        if sign < 0:
            for c in range(channels):
                best[r, c] = -best[r, c]


@njit(nogil=True, cache=True)
def _select(values, winner, selected, first, last):
    count, channels = selected.shape
    for r in range(first, last):
        for c in range(channels):
            if winner[r, c] < count:
                selected[winner[r, c], c] = values[r, c]
