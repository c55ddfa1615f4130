"""Voxels, sets and plans of a fixed size, with their number on the device: for capture in a CUDA graph, where the host cannot wait.

Rows that are not used have coordinates of -1. `window_partition`, `submanifold_conv_plan`, `sparse_conv3d` and `SparseTensor.dense` take
such rows and leave them out, so that a whole network can go from points to a bird's-eye view without waiting. What goes beyond the
capacity is dropped; the number on the device tells so.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from geo3d.ops.distinct import distinct_padded
from geo3d.ops.reference import sparse_conv as cells
from geo3d.ops.reference.voxelize import coords_of_keys
from geo3d.ops.sparse_conv import ConvPlan, plan_at, strided_geometry
from geo3d.ops.voxelize import checked_arguments
from geo3d.ops.windows import check_sets


class PaddedVoxels(NamedTuple):
    """`Voxels` of a fixed size K.

    Attributes:
        coords: [K, 4] int32, (batch, z, y, x), then -1.
        point_to_voxel: [N] int64, the voxel of each point, -1 outside the grid and beyond the capacity.
        counts: [K] int64, the number of points in each voxel, then 0.
        num_voxels: [] int64, voxels that hold a point; more than K if some did not fit.
    """

    coords: Tensor
    point_to_voxel: Tensor
    counts: Tensor
    num_voxels: Tensor


class PaddedSets(NamedTuple):
    """Sets of a fixed number S.

    Attributes:
        sets: [2, S, T] int64 rows, as `set_partition` has them, then 0.
        padding: [2, S, T] bool, as `set_partition` has it, then True.
        num_sets: [] int64; more than S if some did not fit.
    """

    sets: Tensor
    padding: Tensor
    num_sets: Tensor


def voxelize_padded(
    points: Tensor,
    voxel_size: Sequence[float],
    point_range: Sequence[float],
    *,
    capacity: int,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
    allow_partial: bool = False,
) -> PaddedVoxels:
    """`voxelize` to a fixed number of voxels, without waiting for the host.

    Args:
        points, voxel_size, point_range, batch_index, allow_partial: as in `voxelize`.
        capacity: K, at least 1; the first K voxels by batch, x, y, z are kept.
        batch_size: number of clouds; needed with `batch_index` on CUDA for capture.

    Raises:
        ValueError: as `voxelize`.

    Example:
        >>> points = torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0.1, 0.1]])
        >>> voxels = voxelize_padded(points, (1, 1, 1), (0, 0, 0, 2, 2, 2), capacity=3)
        >>> voxels.counts, voxels.num_voxels
        (tensor([2, 1, 0]), tensor(2))
    """
    op = "voxelize_padded"
    _check_capacity(op, capacity)
    rows, batch, size, low, grid, clouds = checked_arguments(
        op, points, voxel_size, point_range, batch_index, batch_size, allow_partial
    )
    keys = torch.ops.geo3d.voxel_keys(rows, batch, size, low, grid)
    found, inverse, counts, number = distinct_padded(keys, clouds * prod(grid), capacity)
    return PaddedVoxels(_where_used(coords_of_keys(found, grid), found), inverse, counts, number)


def set_partition_padded(
    window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int, *, capacity: int
) -> PaddedSets:
    """`set_partition` to a fixed number of sets, without waiting for the host.

    Args:
        window_index: [V] int32 or int64 from `window_partition`, -1 for a row that is in no set.
        in_window: [V, 3] int32 or int64 (z, y, x), in the window.
        window_shape: (x, y, z) voxels of a window.
        set_size: T, slots of a set.
        capacity: S, at least 1; there are at most V / T + windows sets. The first are kept.

    Raises:
        ValueError: shapes, dtypes or sizes that do not fit.

    Example:
        >>> in_window = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=torch.int32)
        >>> set_partition_padded(torch.tensor([0, 0, -1]), in_window, (4, 4, 1), set_size=2, capacity=2).padding[0]
        tensor([[False, False],
                [ True,  True]])
    """
    op = "set_partition_padded"
    _check_capacity(op, capacity)
    width, depth, height = check_sets(op, window_index, in_window, window_shape, set_size)
    count, device = len(window_index), window_index.device
    if count == 0:
        sets = torch.zeros((2, capacity, set_size), dtype=torch.int64, device=device)
        return PaddedSets(sets, torch.ones_like(sets, dtype=torch.bool), sets.new_zeros(()))
    is_used = window_index >= 0
    z, y, x = in_window.long().unbind(1)
    base = torch.where(is_used, window_index.long(), torch.iinfo(torch.int64).max // (width * depth * height) - 1)
    base = base * (width * depth * height)
    orders = torch.stack((base + (y * width + x) * height + z, base + (x * depth + y) * height + z)).sort(stable=True).indices
    windows = window_index[orders[0]]
    starts = torch.ones(count, dtype=torch.int64, device=device)
    starts[1:] = windows[1:] != windows[:-1]
    voxels = torch.zeros_like(starts).index_add_(0, starts.cumsum(0) - 1, (windows >= 0).long())  # of each window, then 0
    sets = (voxels + set_size - 1) // set_size
    last_set = sets.cumsum(0)
    numbers = torch.arange(capacity, device=device)
    window = torch.searchsorted(last_set, numbers, right=True).clamp(max=count - 1)  # of each set
    slot = (numbers - (last_set - sets)[window])[:, None] * set_size + torch.arange(set_size, device=device)
    rank = slot * voxels[window, None] // (sets[window, None] * set_size).clamp(min=1)
    place = ((voxels.cumsum(0) - voxels)[window, None] + rank).clamp(0, count - 1)
    is_set = (numbers < last_set[-1])[:, None]
    rows = torch.where(is_set, orders[:, place], 0)
    padding = (~is_set).expand(2, capacity, set_size).clone()
    padding[..., 1:] |= rows[..., 1:] == rows[..., :-1]
    return PaddedSets(rows, padding, last_set[-1])


def sparse_conv_plan_padded(
    coords: Tensor,
    spatial_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    *,
    capacity: int,
) -> tuple[ConvPlan, Tensor]:
    """`sparse_conv_plan` with a fixed number of outputs, without waiting for the host.

    Args:
        coords: [V, 4] as in `sparse_conv_plan`; rows of -1 are left out.
        spatial_shape, kernel_size, stride, padding, dilation: as in `sparse_conv_plan`.
        capacity: M, at least 1; the first M outputs by batch, x, y, z are kept.

    Returns:
        the plan, whose coords [M, 4] end with -1, and the number [] int64 of outputs; more than M if some did not fit. Features of
        outputs that are not used are the bias alone.

    Raises:
        ValueError: as `sparse_conv_plan`.

    Example:
        >>> coords = torch.tensor([[0, 0, 0, 0], [0, 3, 3, 3]], dtype=torch.int32)
        >>> plan, number = sparse_conv_plan_padded(coords, (4, 4, 4), 2, stride=2, capacity=3)
        >>> plan.coords.tolist(), int(number)
        ([[0, 0, 0, 0], [0, 1, 1, 1], [-1, -1, -1, -1]], 2)
    """
    op = "sparse_conv_plan_padded"
    _check_capacity(op, capacity)
    shape, geometry = strided_geometry(op, coords, spatial_shape, kernel_size, stride, padding, dilation)
    met = cells.cells_met(coords, *geometry).flatten()  # type: ignore[arg-type]
    found, _, _, number = distinct_padded(met, torch.iinfo(torch.int64).max, capacity)
    out_coords = _where_used(cells.coords_of(found, list(geometry.out_shape)).to(coords.dtype), found)
    return plan_at(coords.contiguous(), shape, out_coords, geometry), number


def _where_used(coords: Tensor, keys: Tensor) -> Tensor:
    return torch.where(keys[:, None] < 0, -1, coords)


def _check_capacity(op: str, capacity: int) -> None:
    if capacity < 1:
        raise ValueError(f"{op}: capacity must be at least 1, got {capacity}")
