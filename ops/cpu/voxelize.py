"""Voxelization on the CPU: a radix sort of cell keys, whose time and memory do not depend on the size of the grid."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges

GRAIN = 20_000  # fewest points that are worth a thread
DIGIT = 12  # most bits in a digit of the sort: a histogram of 2**12 counters stays in the first cache


def voxelize(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `geo3d.ops.reference.voxelize.voxelize`."""
    keys, order, offsets = _sorted_points(points, batch, voxel_size, range_min, grid, batch_size)
    coords = torch.empty((len(offsets) - 1, 4), dtype=torch.int32)
    voxel_of_point = torch.full((len(points),), -1, dtype=torch.int64)
    _number_points(keys, order, offsets, np.array(grid), coords.numpy(), voxel_of_point.numpy())
    return coords, voxel_of_point, torch.from_numpy(np.diff(offsets))


def voxelize_hard(
    points: Tensor,
    batch: Tensor,
    voxel_size: list[float],
    range_min: list[float],
    grid: list[int],
    batch_size: int,
    max_points: int,
    max_voxels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `geo3d.ops.reference.voxelize.voxelize_hard`."""
    keys, order, offsets = _sorted_points(points, batch, voxel_size, range_min, grid, batch_size)
    chosen = _first_come(keys, order, offsets, len(points), math.prod(grid), max_voxels)
    indices = torch.empty((len(chosen), max_points), dtype=torch.int64)
    coords = torch.empty((len(chosen), 4), dtype=torch.int32)
    counts = torch.empty(len(chosen), dtype=torch.int64)
    outputs = (indices.numpy(), coords.numpy(), counts.numpy())
    run_ranges(_fill, len(chosen), keys, order, offsets, chosen, np.array(grid), *outputs, grain=GRAIN // 8)
    return indices, coords, counts


def _sorted_points(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted keys and points (order) inside the grid, and where each voxel begins among them (offsets [M + 1])."""
    keys = np.empty(len(points), np.int64)
    size, low, cells = np.float32(voxel_size), np.float32(range_min), np.array(grid)
    run_ranges(_keys_of_points, len(points), points.numpy(), batch.numpy(), size, low, cells, keys, grain=GRAIN)
    bits = max(1, (math.prod(grid) * batch_size - 1).bit_length())
    digits = math.ceil(bits / DIGIT)
    return _sort_keys(keys, digits, math.ceil(bits / digits))


@njit(nogil=True, cache=True)
def _keys_of_points(points, batch, size, low, grid, keys, begin, end):
    for i in range(begin, end):
        key = batch[i] if len(batch) else 0
        for axis in range(3):
            cell = np.floor((points[i, axis] - low[axis]) / size[axis])
            if not (cell >= 0 and cell < grid[axis]):  # so that NaN is outside
                key = -1
                break
            key = key * grid[axis] + np.int64(cell)
        keys[i] = key


@njit(nogil=True, cache=True)
def _sort_keys(keys, digits, bits):
    """Stable radix sort of the keys that are not negative, lowest digit first, and the ranges of equal keys."""
    count = 0
    for key in keys:
        count += key >= 0
    ascending, order = np.empty(count, np.int64), np.empty(count, np.int64)
    count = 0
    for i in range(len(keys)):
        if keys[i] >= 0:
            ascending[count], order[count] = keys[i], i
            count += 1
    next_ascending, next_order = np.empty(count, np.int64), np.empty(count, np.int64)
    for digit in range(digits):
        shift, mask = digit * bits, (1 << bits) - 1
        free = np.zeros((1 << bits) + 1, np.int64)
        for key in ascending:
            free[((key >> shift) & mask) + 1] += 1
        for bucket in range(1 << bits):
            free[bucket + 1] += free[bucket]
        for j in range(count):
            bucket = (ascending[j] >> shift) & mask
            place = free[bucket]
            free[bucket] += 1
            next_ascending[place], next_order[place] = ascending[j], order[j]
        ascending, next_ascending = next_ascending, ascending
        order, next_order = next_order, order
    voxels = 0
    for j in range(count):
        voxels += j == 0 or ascending[j] != ascending[j - 1]
    offsets = np.empty(voxels + 1, np.int64)
    voxels = 0
    for j in range(count):
        if j == 0 or ascending[j] != ascending[j - 1]:
            offsets[voxels] = j
            voxels += 1
    offsets[voxels] = count
    return ascending, order, offsets


@njit(nogil=True, cache=True)
def _write_coords(key, grid, coords):
    """Key of a cell -> (batch, z, y, x); unsigned, since signed division in Python's sense is slower."""
    rest = np.uint64(key)
    for axis in range(3):
        count = np.uint64(grid[2 - axis])
        above = rest // count
        coords[1 + axis] = rest - above * count
        rest = above
    coords[0] = rest


@njit(nogil=True, cache=True)
def _number_points(keys, order, offsets, grid, coords, voxel_of_point):
    for m in range(len(offsets) - 1):
        _write_coords(keys[offsets[m]], grid, coords[m])
        for j in range(offsets[m], offsets[m + 1]):
            voxel_of_point[order[j]] = m


@njit(nogil=True, cache=True)
def _first_come(keys, order, offsets, count, cells, max_voxels):
    """The voxels in the order of their first points, at most max_voxels of each cloud."""
    voxel_of_first = np.full(count, -1, np.int64)
    for m in range(len(offsets) - 1):
        voxel_of_first[order[offsets[m]]] = m
    chosen = np.empty(len(offsets) - 1, np.int64)
    total, in_cloud, cloud = 0, 0, -1
    for m in voxel_of_first:
        if m < 0:
            continue
        if keys[offsets[m]] // cells != cloud:
            cloud, in_cloud = keys[offsets[m]] // cells, 0
        if in_cloud < max_voxels:
            chosen[total] = m
            total += 1
            in_cloud += 1
    return chosen[:total]


@njit(nogil=True, cache=True)
def _fill(keys, order, offsets, chosen, grid, indices, coords, counts, first, last):
    for v in range(first, last):
        begin, m = offsets[chosen[v]], chosen[v]
        counts[v] = min(offsets[m + 1] - begin, indices.shape[1])
        _write_coords(keys[begin], grid, coords[v])
        for slot in range(indices.shape[1]):
            indices[v, slot] = order[begin + slot] if slot < counts[v] else -1
