"""Definition of voxelization in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def voxelize(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """points [N, 3 + F] float32, batch [N] or [0] for one cloud -> coords [M, 4], point_to_voxel [N], counts [M]."""
    return voxels_of_keys(keys_of_points(points, batch, voxel_size, range_min, grid), grid)


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
    return hard_voxels_of_keys(keys_of_points(points, batch, voxel_size, range_min, grid), grid, max_points, max_voxels)


def keys_of_points(points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int]) -> Tensor:
    """[N] int64, the rank of each point's cell among all cells by batch, x, y, z; -1 outside the grid."""
    cells = ((points[:, :3] - points.new_tensor(range_min)) / points.new_tensor(voxel_size)).floor()
    x, y, z = torch.where(cells.isfinite(), cells, -1).clamp(-1, 2**31).to(torch.int64).unbind(1)
    nx, ny, nz = grid
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny) & (z >= 0) & (z < nz)
    cloud = batch if len(batch) else torch.zeros_like(x)
    return torch.where(inside, ((cloud * nx + x) * ny + y) * nz + z, -1)


def voxels_of_keys(keys: Tensor, grid: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct keys in ascending order as coords [M, 4], the voxel of each point [N], the points of each voxel [M]."""
    inside = (keys >= 0).nonzero()[:, 0]
    voxels, inverse, counts = torch.unique(keys[inside], return_inverse=True, return_counts=True)
    return coords_of_keys(voxels, grid), torch.full_like(keys, -1).index_copy(0, inside, inverse), counts


def hard_voxels_of_keys(keys: Tensor, grid: list[int], max_points: int, max_voxels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Voxels in the order of their first points, at most `max_voxels` of each cloud, and their first `max_points` points."""
    inside = (keys >= 0).nonzero()[:, 0]
    ascending, order = keys[inside].sort(stable=True)
    points = inside[order]  # points of a voxel are neighbours, in their order
    voxels, counts = torch.unique_consecutive(ascending, return_counts=True)
    begin = counts.cumsum(0) - counts
    by_first = points[begin].argsort()
    cloud = voxels[by_first] // (grid[0] * grid[1] * grid[2])
    rank = torch.arange(len(voxels), device=keys.device) - torch.searchsorted(cloud, cloud)
    chosen = by_first[rank < max_voxels]
    slots = torch.arange(max_points, device=keys.device)
    is_used = slots < counts[chosen, None]
    taken = torch.full(is_used.shape, -1, device=keys.device)
    taken[is_used] = points[(begin[chosen, None] + slots)[is_used]]
    return taken, coords_of_keys(voxels[chosen], grid), counts[chosen].clamp(max=max_points)


def coords_of_keys(keys: Tensor, grid: list[int]) -> Tensor:
    """Coordinates [M, 4] int32 (batch, z, y, x) of keys [M]."""
    _, ny, nz = grid
    column = keys // nz
    line = column // ny
    return torch.stack([line // grid[0], keys % nz, column % ny, line % grid[0]], 1).to(torch.int32)
