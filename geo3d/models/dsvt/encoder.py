"""Points to the features of the voxels that hold them (DSVT, CVPR 2023, section 4.1; dynamic voxel feature encoding)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.detection.norms import RowNorm, can_fold, scale_and_shift
from geo3d.ops import ScatterPlan, gather, grid_shape, scatter_amax, scatter_mean, scatter_plan, voxelize


class VoxelFeatures(NamedTuple):
    """Features [V, C] of voxels and their coordinates [V, 4] int32 (batch, z, y, x)."""

    features: Tensor
    coords: Tensor


class PointEncoder(nn.Module):
    """Every point described relative to its voxel, two linear layers, and the maximum over the points of each voxel.

    Args:
        in_features: columns of a point: x, y, z and its measurements.
        channels: C, width of the voxel features; even.
        voxel_size: (x, y, z), metres; with one voxel in z they are pillars.
        point_range: (x min, y min, z min, x max, y max, z max), metres; points outside are dropped.
        any_height: let a pillar hold points of any z, as the authors' encoder for nuScenes does; needs one voxel in z.

    Raises:
        ValueError: sizes that do not fit, or a range that is no multiple of the voxel size.
    """

    def __init__(
        self,
        in_features: int,
        channels: int,
        voxel_size: Sequence[float],
        point_range: Sequence[float],
        any_height: bool = False,
    ):
        super().__init__()
        if in_features < 3 or channels < 2 or channels % 2:
            raise ValueError(f"PointEncoder: in_features must be 3 or more and channels even, got {in_features} and {channels}")
        self.grid = grid_shape(voxel_size, point_range, op="PointEncoder")  # (x, y, z) voxels
        if any_height and self.grid[2] != 1:
            raise ValueError(
                f"PointEncoder: any_height needs one voxel in z, got {self.grid[2]}; set its size to the range in z"
            )
        self.in_features, self.channels, self.any_height = in_features, channels, any_height
        self.voxel_size = cast("tuple[float, float, float]", tuple(voxel_size))
        self.point_range = cast("tuple[float, float, float, float, float, float]", tuple(point_range))
        first_center = [low + size / 2 for low, size in zip(point_range, voxel_size, strict=False)]
        self.cell_size: Tensor
        self.first_center: Tensor
        self.register_buffer("cell_size", torch.tensor(voxel_size, dtype=torch.float32), persistent=False)
        self.register_buffer("first_center", torch.tensor(first_center, dtype=torch.float32), persistent=False)
        # a point's columns, its offset from the mean of its voxel's points, its offset from the voxel's centre
        self.layers = nn.ModuleList([PointLayer(in_features + 6, channels // 2), PointLayer(channels, channels)])

    def forward(self, points: Tensor, batch_index: Tensor, batch_size: int) -> VoxelFeatures:
        """Features of all voxels with a point, in ascending order of batch, x, y, z.

        Args:
            points: [N, in_features], metres and measurements.
            batch_index: [N] int32 or int64, the cloud of each point.
            batch_size: number of clouds; any of them may be empty.

        Raises:
            ValueError: shapes or dtypes that do not fit, and on the CPU a batch index outside [0, batch_size).
        """
        if points.ndim != 2 or points.shape[1] != self.in_features:
            raise ValueError(f"PointEncoder: points must be [N, {self.in_features}], got {list(points.shape)}")
        points = points.float()  # half precision does not tell points at the rim of the scene apart
        voxels = voxelize(
            self._flattened(points), self.voxel_size, self.point_range, batch_index=batch_index, batch_size=batch_size
        )
        # points outside must not reach the batch norm; waits for the device, as voxelize has already
        inside = (voxels.point_to_voxel >= 0).nonzero()[:, 0]
        points = points[inside]  # [P, in_features]
        plan = scatter_plan(voxels.point_to_voxel[inside], voxels.coords.shape[0])
        first, second = cast("list[PointLayer]", list(self.layers))
        own = first(self._describe(points, voxels.coords, plan))  # [P, C / 2]
        pooled = scatter_amax(own, plan)  # [V, C / 2]
        return VoxelFeatures(second.largest(own, pooled, plan), voxels.coords)

    def _flattened(self, points: Tensor) -> Tensor:
        """Positions [N, 3], all at the height of the pillars' centres if any height is welcome."""
        if not self.any_height:
            return points[:, :3]
        height = torch.where(points[:, 2].isfinite(), self.first_center[2], points[:, 2])
        return torch.cat([points[:, :2], height[:, None]], 1)

    def _describe(self, points: Tensor, coords: Tensor, plan: ScatterPlan) -> Tensor:
        """points [P, in_features], coords [V, 4] -> [P, in_features + 6]."""
        positions = points[:, :3]
        means = scatter_mean(positions, plan)  # [V, 3]
        centers = coords[:, 1:].flip(1) * self.cell_size + self.first_center  # [V, 3]
        around = gather(torch.cat([means, centers], 1), plan)  # [P, 6]
        return torch.cat([points, positions - around[:, :3], positions - around[:, 3:]], 1)


class PointLayer(nn.Module):
    """Linear layer, batch norm and ReLU on points."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(in_channels, channels, bias=False)
        self.norm = RowNorm(channels, eps=1e-3, momentum=0.01)

    def forward(self, points: Tensor) -> Tensor:
        """points [P, C_in] -> [P, channels]."""
        if not can_fold(self.norm):
            return self.norm(self.linear(points)).relu()
        scale, shift = scale_and_shift(self.norm)
        return F.linear(points, self.linear.weight * scale[:, None], shift).relu_()

    def largest(self, points: Tensor, shared: Tensor, plan: ScatterPlan) -> Tensor:
        """Maximum over the points of each voxel, of points [P, C_p] continued by what their voxel shares [V, C_s] -> [V, channels]."""
        width = points.shape[1]
        # the layer is linear, so what is shared is mixed once per voxel and not once per point
        if not can_fold(self.norm):
            mixed = F.linear(points, self.linear.weight[:, :width])
            mixed = mixed + gather(F.linear(shared, self.linear.weight[:, width:]), plan)
            return scatter_amax(self.norm(mixed).relu(), plan)
        scale, shift = scale_and_shift(self.norm)
        weight = self.linear.weight * scale[:, None]
        # ReLU keeps the order, and what is shared moves all points of a voxel alike: both can come after the maximum
        own = scatter_amax(F.linear(points, weight[:, :width]), plan)
        return own.add_(F.linear(shared, weight[:, width:], shift)).relu_()
