"""Voxelization on CUDA: keys of cells in Triton, then torch's sort; nothing depends on the schedule."""

from __future__ import annotations

from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.distinct import distinct, sorted_keys
from geo3d.ops.reference.voxelize import coords_of_keys


@on_device_of_tensors
def voxelize(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """points [N, 3 + F] float32, batch [N] or [0] for one cloud -> coords [M, 4], point_to_voxel [N], counts [M]."""
    keys = keys_of_points(points, batch, voxel_size, range_min, grid)
    voxels, point_to_voxel, counts = distinct(keys, batch_size * prod(grid))
    return coords_of_keys(voxels, grid), point_to_voxel, counts


@on_device_of_tensors
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
    keys = keys_of_points(points, batch, voxel_size, range_min, grid)
    return hard_voxels(keys, batch_size * prod(grid), grid, max_points, max_voxels)


def hard_voxels(keys: Tensor, limit: int, grid: list[int], max_points: int, max_voxels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The reference's `hard_voxels_of_keys` of keys below `limit`, with one wait for the host: for the number of voxels that stay.

    Until then there are tables of N rows, the most voxels that N points can be in.
    """
    count, device = len(keys), keys.device
    if count == 0:
        none = torch.empty((0, max_points), dtype=torch.int64, device=device)
        return none, coords_of_keys(keys, grid), keys
    ascending, order, place = sorted_keys(keys, limit)
    rows = torch.arange(count, device=device)
    begin = torch.searchsorted(
        place, rows + 1
    )  # of each voxel in the order, the number of keys that are left out behind the last
    end = torch.searchsorted(ascending, torch.full((1,), limit, dtype=ascending.dtype, device=device))
    counts = torch.minimum(torch.cat((begin, begin.new_full((1,), count))), end).diff()
    is_voxel = rows < place[-1]
    first = torch.where(is_voxel, order[begin.clamp(max=count - 1)], count)
    by_first = first.sort().indices
    is_voxel, begin, counts = is_voxel[by_first], begin[by_first], counts[by_first]
    voxels = ascending[begin.clamp(max=count - 1)].long()
    cloud = torch.where(is_voxel, voxels // prod(grid), torch.iinfo(torch.int64).max)
    stays = is_voxel & (rows - torch.searchsorted(cloud, cloud) < max_voxels)
    kept = stays.long().cumsum(0)
    chosen = torch.searchsorted(kept, torch.arange(1, int(kept[-1]) + 1, device=device))
    slots = torch.arange(max_points, device=device)
    places = (begin[chosen, None] + slots).clamp(max=count - 1)
    taken = torch.where(slots < counts[chosen, None], order[places], -1)
    return taken, coords_of_keys(voxels[chosen], grid), counts[chosen].clamp(max=max_points)


@on_device_of_tensors
def keys_of_points(points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int]) -> Tensor:
    """[N] int64, the rank of each point's cell among all cells by batch, x, y, z; -1 outside the grid."""
    keys = torch.empty(len(points), dtype=torch.int64, device=points.device)
    if len(points):
        blocks = (triton.cdiv(len(points), 512),)
        arguments = (len(points), points.shape[1], *range_min, *voxel_size, *grid)
        _keys_kernel[blocks](points, batch, keys, *arguments, BATCHED=len(batch) > 0, BLOCK=512)
    return keys


@triton.jit(do_not_specialize=["N"])
def _keys_kernel(points, batch, keys, N, D, x0, y0, z0, sx, sy, sz, nx, ny, nz, BATCHED: tl.constexpr, BLOCK: tl.constexpr):
    """One program per block of points."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x, in_x = _cell(points + i * D, i < N, x0, sx, nx)
    y, in_y = _cell(points + i * D + 1, i < N, y0, sy, ny)
    z, in_z = _cell(points + i * D + 2, i < N, z0, sz, nz)
    key = x
    if BATCHED:
        key += tl.load(batch + i, i < N, other=0) * nx
    tl.store(keys + i, tl.where(in_x & in_y & in_z, (key * ny + y) * nz + z, -1), i < N)


@triton.jit
def _cell(address, mask, low, size, count):
    """Cell along one axis, and whether it is in the grid; divided exactly, since a voxel's edge must not depend on the device."""
    offset = tl.load(address, mask, other=0.0) - low
    cell = tl.floor(tl.div_rn(offset, tl.zeros_like(offset) + size))
    inside = (cell >= 0) & (cell < count)
    return tl.where(inside, cell, 0.0).to(tl.int64), inside
