"""Voxelization on the CPU: a radix sort of cell keys, whose time and memory do not depend on the size of the grid."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.threads import run_ranges

GRAIN = 20_000  # fewest points that are worth a thread
DIGIT = 12  # most bits in a digit of the sort: a histogram of 2**12 counters stays in the first cache


def voxelize(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """points [N, 3 + F] float32, batch [N] or [0] for one cloud -> coords [M, 4], point_to_voxel [N], counts [M]."""
    voxels, order, offsets = _sorted_points(points, batch, voxel_size, range_min, grid, batch_size)
    coords = torch.empty((len(offsets) - 1, 4), dtype=torch.int32)
    voxel_of_point = torch.full((len(points),), -1, dtype=torch.int64)
    _number_points(voxels, order, offsets, np.array(grid), coords.numpy(), voxel_of_point.numpy())
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
    """points [N, 3 + F] float32, sorted batch [N] or [0] -> point_indices [M, max_points], coords [M, 4], counts [M]."""
    voxels, order, offsets = _sorted_points(points, batch, voxel_size, range_min, grid, batch_size)
    chosen = _first_come(voxels, order, offsets, len(points), math.prod(grid), max_voxels)
    indices = empty((len(chosen), max_points), torch.int64)
    coords = torch.empty((len(chosen), 4), dtype=torch.int32)
    counts = torch.empty(len(chosen), dtype=torch.int64)
    outputs = (indices.numpy(), coords.numpy(), counts.numpy())
    run_ranges(_fill, len(chosen), voxels, order, offsets, chosen, np.array(grid), *outputs, grain=GRAIN // 8)
    return indices, coords, counts


def _sorted_points(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys of the voxels [M], the points inside the grid by voxel (order), and where each voxel begins among them [M + 1]."""
    keys = np.empty(len(points), np.int64)
    size, low, cells = np.array(voxel_size, np.float32), np.array(range_min, np.float32), np.array(grid)
    run_ranges(_keys_of_points, len(points), points.numpy(), batch.numpy(), size, low, cells, keys, grain=GRAIN)
    key_bits = max(1, (math.prod(grid) * batch_size - 1).bit_length())
    row_bits = max(1, len(points).bit_length())
    if key_bits + row_bits < 64:
        digits = math.ceil(key_bits / DIGIT)
        order = _sort_packed(keys, row_bits, digits, math.ceil(key_bits / digits))
    else:
        order = np.argsort(keys, kind="stable")[np.count_nonzero(keys < 0) :]  # no room for both in 64 bits
    return _runs(keys, order)


@njit(nogil=True, cache=True)
def _keys_of_points(points, batch, size, low, grid, keys, begin, end):
    for i in range(begin, end):
        x = np.floor((points[i, 0] - low[0]) / size[0])
        y = np.floor((points[i, 1] - low[1]) / size[1])
        z = np.floor((points[i, 2] - low[2]) / size[2])
        inside = (x >= 0) & (x < grid[0]) & (y >= 0) & (y < grid[1]) & (z >= 0) & (z < grid[2])  # false for NaN
        if inside:
            cloud = batch[i] if len(batch) else 0
            keys[i] = ((cloud * grid[0] + np.int64(x)) * grid[1] + np.int64(y)) * grid[2] + np.int64(z)
        else:
            keys[i] = -1


@njit(nogil=True, cache=True)
def _sort_packed(keys, row_bits, digits, bits):
    """Rows of the keys that are not negative by key, equal ones in their order: a radix sort of key and row in one integer."""
    packed, other = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint64)
    count = 0
    for i in range(len(keys)):
        packed[count] = np.uint64((keys[i] << row_bits) | i)
        count += keys[i] >= 0
    packed, other = packed[:count], other[:count]
    mask = np.uint64((1 << bits) - 1)
    for digit in range(digits):
        shift = np.uint64(row_bits + digit * bits)
        free = np.zeros((1 << bits) + 1, np.int64)
        for value in packed:
            free[((value >> shift) & mask) + np.uint64(1)] += 1
        for bucket in range(1 << bits):
            free[bucket + 1] += free[bucket]
        for value in packed:
            bucket = (value >> shift) & mask
            other[free[bucket]] = value
            free[bucket] += 1
        packed, other = other, packed
    return (packed & np.uint64((1 << row_bits) - 1)).astype(np.int64)


@njit(nogil=True, cache=True)
def _runs(keys, order):
    """The distinct keys, the order itself, and where each key begins in it."""
    voxels, starts = np.empty(len(order), np.int64), np.empty(len(order) + 1, np.int64)
    count, previous = 0, -1
    for j in range(len(order)):
        key = keys[order[j]]
        if key != previous:
            voxels[count], starts[count], previous = key, j, key
            count += 1
    starts[count] = len(order)
    return voxels[:count], order, starts[: count + 1]


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
def _number_points(voxels, order, offsets, grid, coords, voxel_of_point):
    for m in range(len(offsets) - 1):
        _write_coords(voxels[m], grid, coords[m])
        for j in range(offsets[m], offsets[m + 1]):
            voxel_of_point[order[j]] = m


@njit(nogil=True, cache=True)
def _first_come(voxels, order, offsets, count, cells, max_voxels):
    """The voxels in the order of their first points, at most max_voxels of each cloud."""
    voxel_of_first = np.full(count, -1, np.int64)
    for m in range(len(offsets) - 1):
        voxel_of_first[order[offsets[m]]] = m
    chosen = np.empty(len(offsets) - 1, np.int64)
    total, in_cloud, cloud = 0, 0, -1
    for m in voxel_of_first:
        if m < 0:
            continue
        if voxels[m] // cells != cloud:
            cloud, in_cloud = voxels[m] // cells, 0
        if in_cloud < max_voxels:
            chosen[total] = m
            total += 1
            in_cloud += 1
    return chosen[:total]


@njit(nogil=True, cache=True)
def _fill(voxels, order, offsets, chosen, grid, indices, coords, counts, first, last):
    for v in range(first, last):
        m, begin = chosen[v], offsets[chosen[v]]
        counts[v] = min(offsets[m + 1] - begin, indices.shape[1])
        _write_coords(voxels[m], grid, coords[v])
        indices[v] = -1
        for slot in range(counts[v]):
            indices[v, slot] = order[begin + slot]
