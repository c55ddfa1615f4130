"""Rows sorted by the output row that they go to, and sums over such segments, on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.threads import run_ranges

GRAIN = 20_000  # fewest values that are worth a thread
AHEAD = 12  # rows between the one that is read and the one that is asked for: twice as fast as without, 8 to 16 are alike


def segment_sum(values: Tensor, order: Tensor, offsets: Tensor, mean: bool = False) -> Tensor:
    """Sum or mean of values[order[offsets[r]:offsets[r + 1]]] for each r; each thread owns output rows, so the order is fixed."""
    source = full_precision(values)
    sums = empty((len(offsets) - 1, values.shape[1]), source.dtype)
    over_rows(_sum_segments, source, order.numpy(), offsets.numpy(), mean, sums.numpy())
    return sums.to(values.dtype)


def over_rows(kernel, values: Tensor, order: np.ndarray, offsets: np.ndarray, *arguments: object) -> None:
    """Run `kernel(values, order, offsets, *arguments, first, last)` over the output rows."""
    rows = len(offsets) - 1
    if rows:
        grain = max(1, GRAIN * rows // max(values.numel(), 1))
        run_ranges(kernel, rows, values.numpy(), order, offsets, *arguments, grain=grain)


def full_precision(values: Tensor) -> Tensor:
    """Contiguous values that numba can read: it has no half precision, and sums of halves lose digits."""
    return (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).contiguous()


@intrinsic
def prefetch(typing_context, values, i, c):
    """Ask for the cache line of values[i, c], a 2D array; rows of a segment lie anywhere, so no hardware foresees them."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(context, builder, signature.args[0], array, arguments[1:])
        pointer = builder.bitcast(pointer, cgutils.voidptr_t)
        flag = ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
        # to be read (0), kept in all caches (3), data (1)
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], function), [pointer, flag(0), flag(3), flag(1)]
        )
        return context.get_dummy_value()

    return types.void(values, types.uintp, types.uintp), generate


@njit(nogil=True, cache=True)
def prefetch_row(values, i):
    """Ask for all of row i."""
    line = np.uint64(64 // values.itemsize)
    for block in range((np.uint64(values.shape[1]) + line - np.uint64(1)) // line):
        prefetch(values, i, block * line)


@njit(nogil=True, cache=True)
def counting_sort(index, rows):
    """Inputs grouped by output row, in their order; those with index -1 come last.

    Returns:
        order [N], the offsets [rows + 1] of each output row in it, and the first input whose index is outside [-1, rows), or -1.
    """
    one, count = np.uint64(1), np.uint64(len(index))  # unsigned indices need no check for being negative
    # free[r + 1] first counts the inputs of row r; those that are dropped count as row `rows`
    free = np.zeros(rows + 2, np.int64)
    previous, is_sorted = 0, True
    for i in range(count):
        row = index[i]
        if row < -1 or row >= rows:
            return np.empty(0, np.int64), free, np.int64(i)
        row = rows if row < 0 else row
        is_sorted &= row >= previous
        previous = row
        free[np.uint64(row) + one] += 1
    for r in range(rows + 1):
        free[r + 1] += free[r]
    offsets = free[: rows + 1].copy()
    if is_sorted:
        return np.arange(len(index)), offsets, -1
    order = np.empty(len(index), np.int64)
    for i in range(count):
        row = np.uint64(rows if index[i] < 0 else index[i])
        order[np.uint64(free[row])] = np.int64(i)
        free[row] += 1
    return order, offsets, -1


@njit(nogil=True, cache=True)
def _sum_segments(values, order, offsets, mean, sums, first, last):
    one, ahead, end = np.uint64(1), np.uint64(AHEAD), np.uint64(len(order) - 1)
    channels = np.uint64(values.shape[1])
    for r in range(np.uint64(first), np.uint64(last)):
        begin, stop = np.uint64(offsets[r]), np.uint64(offsets[r + one])
        for c in range(channels):
            sums[r, c] = 0
        for place in range(begin, stop):
            prefetch_row(values, np.uint64(order[min(place + ahead, end)]))
            i = np.uint64(order[place])
            for c in range(channels):
                sums[r, c] += values[i, c]
        if mean and stop - begin > one:
            count = offsets[r + one] - offsets[r]
            for c in range(channels):
                sums[r, c] /= count
