"""Points to the voxels (or, with one cell in z, the pillars) that hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geo3d.ops.reference import voxelize as reference
from geo3d.ops.scatter import scatter_amax, scatter_mean, scatter_plan, scatter_sum


class Voxels(NamedTuple):
    """The voxels that hold a point, in ascending order of batch, x, y, z.

    Attributes:
        coords: [M, 4] int32, (batch, z, y, x).
        point_to_voxel: [N] int64, the voxel of each point, -1 outside the grid.
        counts: [M] int64, the number of points in each voxel.
    """

    coords: Tensor
    point_to_voxel: Tensor
    counts: Tensor


class HardVoxels(NamedTuple):
    """Voxels with a limited number of points, by cloud and, within one, in the order of their first points.

    Attributes:
        point_indices: [M, max_points] int64, rows of the points of each voxel in ascending order, then -1.
        coords: [M, 4] int32, (batch, z, y, x).
        counts: [M] int64, the number of points that were kept, in 1..max_points.
    """

    point_indices: Tensor
    coords: Tensor
    counts: Tensor


def voxelize(
    points: Tensor,
    voxel_size: Sequence[float],
    point_range: Sequence[float],
    *,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
    allow_partial: bool = False,
) -> Voxels:
    """Dynamic voxelization: every voxel that holds a point, with all of its points.

    Zhou et al., "End-to-end multi-view fusion for 3D object detection in LiDAR point clouds", CoRL 2019. A point p is in cell
    floor((p - range minimum) / voxel size), computed in float32 whatever the dtype of the points, so that voxels are those of
    published weights. Pillars are voxels as high as the range.

    Args:
        points: [N, 3 + F], metres; the columns after x, y, z are not looked at. float16, bfloat16, float32 or float64.
        voxel_size: (x, y, z), metres.
        point_range: (x min, y min, z min, x max, y max, z max), metres. The lower bound belongs to the grid, the upper one does not.
        batch_index: [N] int32 or int64, the cloud of each point, in any order; without it the points are one cloud.
        batch_size: number of clouds, by default the largest batch index + 1 (give it on CUDA, where finding it synchronises).
        allow_partial: let the range be no multiple of the voxel size; the grid then reaches past the upper bound by part of a cell.

    Returns:
        Voxels. Points outside the grid and non-finite ones are dropped. The result does not depend on the number of threads and
        is the same on every device. Not differentiable. M depends on the points: `torch.compile(fullgraph=True)` needs
        `torch._dynamo.config.capture_dynamic_output_shape_ops`.

    Raises:
        ValueError: shapes, dtypes or numbers that do not fit, a range that is no multiple of the voxel size, and on the CPU a
            batch index outside [0, batch_size).

    Example:
        >>> points = torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0.1, 0.1]])
        >>> voxelize(points, (1, 1, 1), (0, 0, 0, 2, 2, 2)).coords
        tensor([[0, 0, 0, 0],
                [0, 0, 0, 1]], dtype=torch.int32)
    """
    arguments = checked_arguments("voxelize", points, voxel_size, point_range, batch_index, batch_size, allow_partial)
    return Voxels(*torch.ops.geo3d.voxelize(*arguments))


def voxelize_hard(
    points: Tensor,
    voxel_size: Sequence[float],
    point_range: Sequence[float],
    *,
    max_points: int,
    max_voxels: int,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
    allow_partial: bool = False,
) -> HardVoxels:
    """Hard voxelization: at most `max_voxels` voxels of a cloud with at most `max_points` points each, first come, first served.

    Zhou and Tuzel, "VoxelNet: end-to-end learning for point cloud based 3D object detection", CVPR 2018, section 2.1. Points are
    taken in their order, so shuffle them first where the choice should be random.

    Args:
        points: [N, 3 + F], as in `voxelize`.
        voxel_size: (x, y, z), metres.
        point_range: (x min, y min, z min, x max, y max, z max), metres.
        max_points: most points in a voxel; later ones are dropped.
        max_voxels: most voxels in a cloud; points that would open another are dropped.
        batch_index: [N] int32 or int64, sorted, the cloud of each point; without it the points are one cloud.
        batch_size: number of clouds, by default the largest batch index + 1.
        allow_partial: let the range be no multiple of the voxel size, as in `voxelize`.

    Returns:
        HardVoxels, otherwise as `voxelize`.

    Raises:
        ValueError: as `voxelize`, limits below 1, and on the CPU a batch index that is not sorted.

    Example:
        >>> points = torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0.1, 0.1]])
        >>> voxelize_hard(points, (1, 1, 1), (0, 0, 0, 2, 2, 2), max_points=2, max_voxels=10).point_indices
        tensor([[ 0,  1],
                [ 2, -1]])
    """
    if max_points < 1 or max_voxels < 1:
        raise ValueError(f"voxelize_hard: max_points and max_voxels must be positive, got {max_points} and {max_voxels}")
    arguments = checked_arguments("voxelize_hard", points, voxel_size, point_range, batch_index, batch_size, allow_partial)
    batch = arguments[1]
    if batch.device.type == "cpu" and not torch.compiler.is_compiling() and bool((batch[1:] < batch[:-1]).any()):
        raise ValueError("voxelize_hard: batch_index must be sorted in ascending order")
    return HardVoxels(*torch.ops.geo3d.voxelize_hard(*arguments, max_points, max_voxels))


def voxel_features(values: Tensor, voxels: Voxels, reduce: Literal["mean", "max", "sum"] = "mean") -> Tensor:
    """Features of voxels from those of their points.

    Args:
        values: [N, ...] floating point, one row for each point that was voxelized.
        voxels: from `voxelize`.
        reduce: what is done with the points of a voxel.

    Returns:
        [M, ...], differentiable in `values`. For several reductions of the same voxels make one
        `scatter_plan(voxels.point_to_voxel, len(voxels.coords))` and call `scatter_mean` and its like with it.

    Raises:
        ValueError: shapes or dtypes that do not fit, or another reduction.

    Example:
        >>> points = torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0.1, 0.1]])
        >>> voxel_features(points, voxelize(points, (1, 1, 1), (0, 0, 0, 2, 2, 2)))
        tensor([[0.2000, 0.1000, 0.1000],
                [1.5000, 0.1000, 0.1000]])
    """
    if reduce not in ("mean", "max", "sum"):
        raise ValueError(f"voxel_features: reduce must be 'mean', 'max' or 'sum', got {reduce!r}")
    plan = scatter_plan(voxels.point_to_voxel, voxels.coords.shape[0])
    if reduce == "max":
        return scatter_amax(values, plan)
    return scatter_mean(values, plan) if reduce == "mean" else scatter_sum(values, plan)


def grid_shape(
    voxel_size: Sequence[float], point_range: Sequence[float], *, allow_partial: bool = False, op: str = "grid_shape"
) -> tuple[int, int, int]:
    """Number of voxels in x, y, z of a range (x min, y min, z min, x max, y max, z max).

    Args:
        voxel_size: (x, y, z), metres.
        point_range: lower, then upper bounds, metres.
        allow_partial: round up where the range is no multiple of the voxel size.
        op: the public function that asks, for the messages.

    Raises:
        ValueError: numbers that do not fit, or a range that is no multiple of the voxel size.

    Example:
        >>> point_range = (0, -40, -3, 70.4, 40, 1)
        >>> grid_shape((0.1, 0.1, 4), point_range)
        (704, 800, 1)
    """
    if len(voxel_size) != 3 or not all(0 < size < math.inf for size in voxel_size):
        raise ValueError(f"{op}: voxel_size must be 3 positive numbers (x, y, z), got {list(voxel_size)}")
    if len(point_range) != 6 or not all(math.isfinite(bound) for bound in point_range):
        raise ValueError(f"{op}: point_range must be 6 finite numbers (x, y, z min, then max), got {list(point_range)}")
    shape = []
    for axis, size, low, high in zip("xyz", voxel_size, point_range[:3], point_range[3:], strict=True):
        if high <= low:
            raise ValueError(f"{op}: point_range must end above its start, got {low:g} to {high:g} in {axis}")
        cells = (high - low) / size
        whole = max(1, round(cells))
        if abs(cells - whole) > 1e-3 and not allow_partial:  # of a cell: bounds and sizes are often rounded to float32
            raise ValueError(
                f"{op}: point_range {low:g} to {high:g} in {axis} is {cells:.6g} voxels of {size:g}, not a whole number; end it at "
                f"{low + whole * size:g}, set the voxel size in {axis} to {(high - low) / whole:.6g}, or pass allow_partial=True"
            )
        shape.append(whole if abs(cells - whole) <= 1e-3 else math.ceil(cells))
        if shape[-1] >= 2**31:
            raise ValueError(f"{op}: {shape[-1]} voxels in {axis} do not fit int32 coordinates; use larger voxels")
    return shape[0], shape[1], shape[2]


def checked_arguments(
    op: str,
    points: Tensor,
    voxel_size: Sequence[float],
    point_range: Sequence[float],
    batch_index: Tensor | None,
    batch_size: int | None,
    allow_partial: bool,
) -> tuple[Tensor, Tensor, list[float], list[float], list[int], int]:
    """Checked arguments of the custom ops: points, batch index ([0] for one cloud), voxel size, range minimum, grid, batch size."""
    if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] < 3 or not points.is_floating_point():
        got = f"{list(points.shape)} {points.dtype}" if isinstance(points, Tensor) else type(points).__name__
        raise ValueError(f"{op}: points must be [N, 3 or more] floating point, got {got}")
    grid = grid_shape(voxel_size, point_range, allow_partial=allow_partial, op=op)
    if batch_index is None:
        if batch_size not in (None, 1):
            raise ValueError(f"{op}: without batch_index the points are one cloud, got batch_size={batch_size}")
        batch, batch_size = torch.zeros(0, dtype=torch.int64, device=points.device), 1
    else:
        batch, batch_size = _batch(op, points, batch_index, batch_size)
    if math.prod(grid) * max(batch_size, 1) >= 2**63:
        raise ValueError(f"{op}: {batch_size} grids of {grid} voxels do not fit int64 keys; use larger voxels")
    rows = points.detach().to(torch.float32).contiguous()
    return rows, batch, [float(v) for v in voxel_size], [float(v) for v in point_range[:3]], list(grid), batch_size


def _batch(op: str, points: Tensor, batch_index: Tensor, batch_size: int | None) -> tuple[Tensor, int]:
    if batch_index.shape != points.shape[:1] or batch_index.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"{op}: batch_index must be [{points.shape[0]}] int32 or int64, got {list(batch_index.shape)} {batch_index.dtype}"
        )
    batch = batch_index.to(torch.int64).contiguous()
    if batch_size is None:
        batch_size = int(batch.max()) + 1 if len(batch) else 0
    if batch.device.type == "cpu" and not torch.compiler.is_compiling() and len(batch):
        low, high = (int(bound) for bound in torch.aminmax(batch))
        if low < 0 or high >= batch_size:
            raise ValueError(f"{op}: batch_index must be in [0, {batch_size}), got {low} to {high}")
    return batch, batch_size


@torch.library.custom_op("geo3d::voxelize", mutates_args=(), device_types="cpu")
def _voxelize(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    from geo3d.ops.cpu import voxelize as cpu

    return cpu.voxelize(points, batch, voxel_size, range_min, grid, batch_size)


@_voxelize.register_kernel("cuda")
def _(points, batch, voxel_size, range_min, grid, batch_size):
    from geo3d.ops.cuda import voxelize as cuda

    return cuda.voxelize(points, batch, voxel_size, range_min, grid, batch_size)


@_voxelize.register_fake
def _(points, batch, voxel_size, range_min, grid, batch_size):
    voxels = torch.library.get_ctx().new_dynamic_size()
    coords = points.new_empty((voxels, 4), dtype=torch.int32)
    return coords, batch.new_empty((points.shape[0],)), batch.new_empty((voxels,))


@torch.library.custom_op("geo3d::voxel_keys", mutates_args=(), device_types="cpu")
def _voxel_keys(points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int]) -> Tensor:
    """[N] int64, the rank of each point's cell among all cells by batch, x, y, z; -1 outside the grid."""
    return reference.keys_of_points(points, batch, voxel_size, range_min, grid)


@_voxel_keys.register_kernel("cuda")
def _(points, batch, voxel_size, range_min, grid):
    from geo3d.ops.cuda import voxelize as cuda

    return cuda.keys_of_points(points, batch, voxel_size, range_min, grid)


@_voxel_keys.register_fake
def _(points, batch, voxel_size, range_min, grid):
    return batch.new_empty((points.shape[0],))


@torch.library.custom_op("geo3d::voxelize_hard", mutates_args=(), device_types="cpu")
def _voxelize_hard(
    points: Tensor,
    batch: Tensor,
    voxel_size: list[float],
    range_min: list[float],
    grid: list[int],
    batch_size: int,
    max_points: int,
    max_voxels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    from geo3d.ops.cpu import voxelize as cpu

    return cpu.voxelize_hard(points, batch, voxel_size, range_min, grid, batch_size, max_points, max_voxels)


@_voxelize_hard.register_kernel("cuda")
def _(points, batch, voxel_size, range_min, grid, batch_size, max_points, max_voxels):
    from geo3d.ops.cuda import voxelize as cuda

    return cuda.voxelize_hard(points, batch, voxel_size, range_min, grid, batch_size, max_points, max_voxels)


@_voxelize_hard.register_fake
def _(points, batch, voxel_size, range_min, grid, batch_size, max_points, max_voxels):
    voxels = torch.library.get_ctx().new_dynamic_size()
    coords = points.new_empty((voxels, 4), dtype=torch.int32)
    return batch.new_empty((voxels, max_points)), coords, batch.new_empty((voxels,))
