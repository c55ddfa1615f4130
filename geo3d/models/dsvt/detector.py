"""The detector around DSVT: point encoder, DSVT, bird's-eye-view map, 2D backbone, head (section 4.1)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from geo3d.models.detection import BevBackbone, BevGrid, scatter_to_bev
from geo3d.models.detection.decoding import Range
from geo3d.models.detection.norms import ConvBranch, ConvNormReLU
from geo3d.models.dsvt.backbone import DSVTBackbone
from geo3d.models.dsvt.encoder import PointEncoder


class DSVTDetector(nn.Module):
    """3D detector on LiDAR points.

    Args:
        encoder: points to voxels.
        backbone: voxels to voxels of one layer.
        bev: 2D backbone on the map of that layer.
        head: takes the maps of `bev`, such as `CenterHead` or `TransFusionHead`.

    Attributes:
        bev_grid: the cells of the head's maps in metres, for its targets, loss and decoder.

    Raises:
        ValueError: parts that do not fit together; the message says which number to change.
    """

    def __init__(self, encoder: PointEncoder, backbone: DSVTBackbone, bev: BevBackbone, head: nn.Module):
        super().__init__()
        _check_geometry(encoder, backbone, bev)
        self.encoder, self.backbone, self.bev, self.head = encoder, backbone, bev, head
        self.bev_grid = BevGrid(encoder.point_range, encoder.voxel_size, backbone.stride[0] * bev.stride)

    def forward(self, points: Tensor, batch_index: Tensor, batch_size: int) -> Any:
        """Outputs of the head.

        Args:
            points: [N, in_features], metres and measurements.
            batch_index: [N] int32 or int64, the cloud of each point.
            batch_size: number of clouds; any of them may be empty.
        """
        features, coords = self.encoder(points, batch_index, batch_size)  # [V, C], [V, 4]
        features, coords = self.backbone(features, coords)  # of the last stage
        columns, rows, _ = self.backbone.out_grid
        bev_map = scatter_to_bev(features, coords, batch_size, (rows, columns))  # [B, C, ny, nx]
        return self.head(self.bev(bev_map))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def in_features(self) -> int:
        """Columns of a point: x, y, z and its measurements."""
        return self.encoder.in_features

    @property
    def point_range(self) -> Range:
        """Smallest x, y, z, then largest x, y, z of the points that are looked at, metres."""
        return self.encoder.point_range

    @property
    def num_classes(self) -> int:
        """Classes of the head."""
        return cast(int, self.head.num_classes)

    def compile_dense(self, **options: Any) -> None:
        """Compile the 2D backbone and the head's convolutions, in place and with the same state dict; the next call takes its time.

        Args:
            options: of `torch.compile`, such as `backend` or `mode`. Its default backend needs a C++ compiler.
        """
        self.bev.compile(**options)
        for part in self.head.modules():
            if isinstance(part, ConvNormReLU | ConvBranch):
                part.compile(**options)


def _check_geometry(encoder: PointEncoder, backbone: DSVTBackbone, bev: BevBackbone) -> None:
    for axis, cells, voxels in zip("xyz", encoder.grid, backbone.grid, strict=True):
        if cells != voxels:
            low, high = (encoder.point_range["xyz".index(axis) + i] for i in (0, 3))
            raise ValueError(
                f"DSVTDetector: {low:g} to {high:g} m in {axis} is {cells} voxels of {(high - low) / cells:g} m; "
                f"the backbone's grid has {voxels}: set it to {cells}, or the voxel size in {axis} to {(high - low) / voxels:g}"
            )
    if encoder.channels != backbone.channels:
        raise ValueError(
            f"DSVTDetector: encoder and backbone must have the same channels, got {encoder.channels} and {backbone.channels}"
        )
    height = backbone.out_grid[2]
    if height != 1:
        raise ValueError(
            f"DSVTDetector: the strides leave {height} of {backbone.grid[2]} voxels in z; raise those of the backbone's stages "
            f"in z by a factor of {height} in all, or make the voxels {height} times as high"
        )
    if backbone.stride[0] != backbone.stride[1]:
        raise ValueError(
            f"DSVTDetector: the backbone's strides in x and y must be alike, got {backbone.stride[0]} and {backbone.stride[1]}"
        )
    for axis, cells, low in zip("xy", backbone.out_grid, encoder.point_range, strict=False):
        if cells % bev.reduction:
            size = encoder.voxel_size["xy".index(axis)] * backbone.stride[0]
            fitting = -(-cells // bev.reduction) * bev.reduction
            raise ValueError(
                f"DSVTDetector: the map has {cells} cells in {axis}, the 2D backbone needs a multiple of {bev.reduction}; "
                f"end the range in {axis} at {low + fitting * size:g} m"
            )
