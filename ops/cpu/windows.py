"""Windows, sets and pooling cells on the CPU: counting sorts whose buckets stay in the cache, and a bit per cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges


def window_partition(
    coords: Tensor, sparse_shape: Sequence[int], window_shape: Sequence[int], shift: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """coords [V, 4] -> window of each voxel [V] int64 and its place (z, y, x) in the window [V, 3] in the dtype of coords.

    Tables per axis stand in for divisions.
    """
    quotients, remainders = _tables(sparse_shape, window_shape, shift)
    windows = np.array([-(-size // window) + 1 for size, window in zip(sparse_shape, window_shape, strict=True)])
    index, in_window = torch.empty(len(coords), dtype=torch.int64), torch.empty((len(coords), 3), dtype=coords.dtype)
    outside = np.full(1, -1)
    arguments = (coords.numpy(), *quotients, *remainders, windows, index.numpy(), in_window.numpy(), outside)
    run_ranges(_window_partition, len(coords), *arguments, grain=16384)
    _raise_outside("window_partition", coords, sparse_shape, int(outside[0]))
    return index, in_window


def set_partition(window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int) -> tuple[Tensor, Tensor]:
    """window_index [V], in_window [V, 3] -> rows [2, S, T] int64 and padding [2, S, T] bool, y-major and x-major.

    Voxels are counted into windows, then each window sorts its own.
    """
    count = len(window_index)
    low, high = (int(bound) for bound in torch.aminmax(window_index)) if count else (0, -1)
    if low < 0:
        raise ValueError(f"set_partition: window_index must not be negative, got {low}")
    if high > 4 * count + (1 << 16):  # too many empty windows for a table
        window_index = window_index.unique(return_inverse=True)[1]
        high = int(window_index.max())
    starts, rows = np.zeros(high + 2, np.int64), np.empty(count, np.int64)
    places = in_window.numpy()
    sizes = np.array(window_shape[::-1])
    bad = _group(window_index.numpy(), places, sizes, starts, rows)
    if bad >= 0:
        raise ValueError(
            f"set_partition: in_window must be (z, y, x) in windows of (x, y, z) = {list(window_shape)}, "
            f"got {places[bad].tolist()} in row {bad}"
        )
    sets_before = np.zeros(high + 2, np.int64)
    np.cumsum(-(-np.diff(starts) // set_size), out=sets_before[1:])
    shape = (2, int(sets_before[-1]), set_size)
    sets, padding = torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.bool)
    largest = int(np.diff(starts).max(initial=0))
    arguments = (places, sizes, starts, rows, sets_before, largest, sets.numpy(), padding.numpy())
    run_ranges(_fill_sets, high + 1, *arguments, grain=max(1, (high + 1) * 8192 // max(count, 1)))
    return sets, padding


def pooling_partition(coords: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """coords [V, 4] -> pooled coords [P, 4], cell of each voxel [V] and its slot in the cell [V].

    The rank of a cell is the number of bits set before its own.
    """
    count = len(coords)
    quotients, remainders = _tables(sparse_shape, stride, (0, 0, 0))
    cells = np.array([-(-size // step) for size, step in zip(sparse_shape, stride, strict=True)])
    cell, slot = torch.empty(count, dtype=torch.int64), torch.empty(count, dtype=torch.int64)
    outside = np.full(1, -1)
    arguments = (coords.numpy(), *quotients, *remainders, cells, np.array(stride), cell.numpy(), slot.numpy(), outside)
    run_ranges(_cell_keys, count, *arguments, grain=16384)
    _raise_outside("pooling_partition", coords, sparse_shape, int(outside[0]))
    table = (int(cell.max()) if count else 0) // 64 + 2
    if table > count + (1 << 18):  # too many empty cells for a table
        unique, cell = cell.unique(return_inverse=True)
        pooled = torch.empty((len(unique), 4), dtype=coords.dtype)
    else:
        total = _rank_cells(cell.numpy(), np.zeros(table, np.uint64), np.zeros(table, np.int64))
        pooled = torch.empty((total, 4), dtype=coords.dtype)
    cell_x, cell_y, cell_z = quotients
    _pool_coords(coords.numpy(), cell_x, cell_y, cell_z, cell.numpy(), pooled.numpy())
    return pooled, cell, slot


def _tables(
    sparse_shape: Sequence[int], size: Sequence[int], shift: Sequence[int]
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """For each coordinate along x, y and z, the window or cell it is in, and its place inside."""
    lines = [np.arange(length) + moved for length, moved in zip(sparse_shape, shift, strict=True)]
    return (
        tuple(line // step for line, step in zip(lines, size, strict=True)),
        tuple(line % step for line, step in zip(lines, size, strict=True)),
    )


def _raise_outside(op: str, coords: Tensor, sparse_shape: Sequence[int], row: int) -> None:
    if row >= 0:
        raise ValueError(
            f"{op}: coords must be (batch, z, y, x) in a grid of (x, y, z) = {list(sparse_shape)}, "
            f"got {coords[row].tolist()} in row {row}"
        )


@njit(nogil=True, cache=True)
def _window_partition(coords, window_x, window_y, window_z, in_x, in_y, in_z, windows, index, in_window, outside, first, last):
    num_x, num_y, num_z = windows[0], windows[1], windows[2]
    end_x, end_y, end_z = np.uint64(len(in_x)), np.uint64(len(in_y)), np.uint64(len(in_z))
    for i in range(first, last):
        b, z, y, x = np.int64(coords[i, 0]), np.uint64(coords[i, 1]), np.uint64(coords[i, 2]), np.uint64(coords[i, 3])
        if b < 0 or z >= end_z or y >= end_y or x >= end_x:  # unsigned, so a negative one is too large, and indexing is faster
            outside[0] = i
            return
        index[i] = ((b * num_x + window_x[x]) * num_y + window_y[y]) * num_z + window_z[z]
        in_window[i, 0], in_window[i, 1], in_window[i, 2] = in_z[z], in_y[y], in_x[x]


@njit(nogil=True, cache=True)
def _group(window_index, in_window, sizes, starts, rows):
    """Rows of window w to rows[starts[w]:starts[w + 1]], in ascending order; returns a row outside its window, or -1."""
    for i in range(len(window_index)):
        for axis in range(3):
            if not 0 <= in_window[i, axis] < sizes[axis]:
                return i
        starts[window_index[i] + 1] += 1
    for w in range(1, len(starts)):
        starts[w] += starts[w - 1]
    free = starts[:-1].copy()
    for i in range(len(window_index)):
        w = window_index[i]
        rows[free[w]] = i
        free[w] += 1
    return -1


@njit(nogil=True, cache=True)
def _sort_by(in_window, axis, rows, ordered, buckets):
    """Stable counting sort of the rows of a window by one coordinate."""
    buckets[:] = 0
    for row in rows:
        buckets[in_window[row, axis] + 1] += 1
    for k in range(1, len(buckets)):
        buckets[k] += buckets[k - 1]
    for row in rows:
        place = in_window[row, axis]
        ordered[buckets[place]] = row
        buckets[place] += 1


@njit(nogil=True, cache=True)
def _is_sorted(in_window, sizes, rows):
    """Whether rows ascend by (x, y, z), as rows of sorted voxels do in every window."""
    previous = np.int64(-1)
    for row in rows:
        key = (np.int64(in_window[row, 2]) * sizes[1] + in_window[row, 1]) * sizes[0] + in_window[row, 0]
        if key < previous:
            return False
        previous = key
    return True


@njit(nogil=True, cache=True)
def _fill_sets(in_window, sizes, starts, rows, sets_before, largest, sets, padding, first_window, last_window):
    one, two = np.empty(largest, np.int64), np.empty(largest, np.int64)
    buckets_z, buckets_y, buckets_x = (
        np.empty(sizes[0] + 1, np.int64),
        np.empty(sizes[1] + 1, np.int64),
        np.empty(sizes[2] + 1, np.int64),
    )
    for w in range(first_window, last_window):
        count = starts[w + 1] - starts[w]
        if count == 0:
            continue
        own, a, b = rows[starts[w] : starts[w + 1]], one[:count], two[:count]
        if not _is_sorted(in_window, sizes, own):
            _sort_by(in_window, 0, own, a, buckets_z)
            _sort_by(in_window, 1, a, b, buckets_y)
            _sort_by(in_window, 2, b, own, buckets_x)
        _sort_by(in_window, 1, own, a, buckets_y)  # stable, so (x, y, z) becomes (y, x, z)
        _share_out(a, sets[0, sets_before[w] : sets_before[w + 1]], padding[0, sets_before[w] : sets_before[w + 1]])
        _share_out(own, sets[1, sets_before[w] : sets_before[w + 1]], padding[1, sets_before[w] : sets_before[w + 1]])


@njit(nogil=True, cache=True)
def _share_out(rows, sets, padding):
    """Slot k of K gets the row of rank floor(k n / K), counted up: n <= K, so the rank rises by one or not at all."""
    slots = sets.shape[0] * sets.shape[1]
    rank, part = 0, 0
    for s in range(sets.shape[0]):
        repeats = False
        for t in range(sets.shape[1]):
            sets[s, t] = rows[rank]
            padding[s, t] = repeats
            part += len(rows)
            repeats = part < slots
            if not repeats:
                part -= slots
                rank += 1


@njit(nogil=True, cache=True)
def _cell_keys(coords, cell_x, cell_y, cell_z, in_x, in_y, in_z, cells, stride, key, slot, outside, first, last):
    num_x, num_y, num_z = cells[0], cells[1], cells[2]
    end_x, end_y, end_z = np.uint64(len(in_x)), np.uint64(len(in_y)), np.uint64(len(in_z))
    stride_y, stride_z = stride[1], stride[2]
    for i in range(first, last):
        b, z, y, x = np.int64(coords[i, 0]), np.uint64(coords[i, 1]), np.uint64(coords[i, 2]), np.uint64(coords[i, 3])
        if b < 0 or z >= end_z or y >= end_y or x >= end_x:  # unsigned, so a negative one is too large, and indexing is faster
            outside[0] = i
            return
        key[i] = ((b * num_x + cell_x[x]) * num_y + cell_y[y]) * num_z + cell_z[z]
        slot[i] = (in_x[x] * stride_y + in_y[y]) * stride_z + in_z[z]


@njit(nogil=True, cache=True)
def _rank_cells(key, occupied, before):
    """Replace each key by its rank among the distinct keys; returns their number. `occupied` has a bit per possible key."""
    for k in key:
        occupied[k >> 6] |= np.uint64(1) << np.uint64(k & 63)
    total = 0
    for word in range(len(occupied)):
        before[word] = total
        total += _bits(occupied[word])
    for i in range(len(key)):
        lower = (np.uint64(1) << np.uint64(key[i] & 63)) - np.uint64(1)
        key[i] = before[key[i] >> 6] + _bits(occupied[key[i] >> 6] & lower)
    return total


@njit(nogil=True, cache=True, inline="always")
def _bits(word):
    """Number of bits that are set, added up in ever wider fields."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(nogil=True, cache=True)
def _pool_coords(coords, cell_x, cell_y, cell_z, cell, pooled):
    """Every voxel of a cell writes the same."""
    for i in range(len(cell)):
        pooled[cell[i], 0] = coords[i, 0]
        pooled[cell[i], 1] = cell_z[coords[i, 1]]
        pooled[cell[i], 2] = cell_y[coords[i, 2]]
        pooled[cell[i], 3] = cell_x[coords[i, 3]]
