"""DSVT's detectors from plain numbers, as a YAML or the description of a weight file has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from geo3d.models.detection import BevBackbone, CenterHead, TransFusionHead
from geo3d.models.dsvt.backbone import DSVTBackbone, StageConfig
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.models.dsvt.encoder import PointEncoder

Triple = tuple[int, int, int]
Size = tuple[float, float, float]
Range = tuple[float, float, float, float, float, float]


class DSVTCenter(DSVTDetector):
    """DSVT with CenterHead. The defaults of the widths are the published ones for Waymo.

    Args:
        num_classes: channels of the heatmap.
        in_features: columns of a point: x, y, z and its measurements.
        point_range: smallest x, y, z, then largest x, y, z, metres.
        voxel_size: (x, y, z), metres; with one voxel in z they are pillars.
        stages: of the backbone, from fine to coarse; `StageConfig` or its fields.
        channels: width of the voxel features and of the map.
        heads, feedforward, hybrid_factor, pooling, activation, matched_positions, checkpoint_blocks, normalize_positions: of
            `DSVTBackbone`; feedforward is twice `channels` when None.
        any_height: of `PointEncoder`.
        bev_blocks, bev_strides, bev_channels, bev_up_strides, bev_up_channels: of `BevBackbone`.
        head_channels: width of the head.
        iou: predict the IoU of each box.
        velocity: predict velocities.

    Raises:
        ValueError: numbers that do not fit together; the message says which to change.
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        point_range: Range,
        voxel_size: Size,
        stages: Sequence[StageConfig],
        channels: int = 192,
        heads: int = 8,
        feedforward: int | None = None,
        hybrid_factor: Triple = (2, 2, 1),
        pooling: Literal["attention", "linear", "max"] = "attention",
        activation: Literal["gelu", "relu"] = "gelu",
        matched_positions: bool = False,  # see DSVTBackbone: published weights are without
        checkpoint_blocks: bool = False,
        any_height: bool = False,
        bev_blocks: Sequence[int] = (1, 2, 2),
        bev_strides: Sequence[int] = (1, 2, 2),
        bev_channels: Sequence[int] = (128, 128, 256),
        bev_up_strides: Sequence[float] = (1, 2, 4),
        bev_up_channels: Sequence[int] = (128, 128, 128),
        head_channels: int = 64,
        iou: bool = True,
        velocity: bool = False,
        normalize_positions: bool = False,
    ):
        encoder = PointEncoder(in_features, channels, voxel_size, point_range, any_height)
        backbone = DSVTBackbone(
            encoder.grid,
            [_stage(stage) for stage in stages],
            channels,
            heads,
            2 * channels if feedforward is None else feedforward,
            hybrid_factor,
            pooling,
            activation,
            matched_positions,
            checkpoint_blocks,
            normalize_positions,
        )
        bev = BevBackbone(channels, bev_blocks, bev_strides, bev_channels, bev_up_strides, bev_up_channels)
        head = CenterHead(bev.out_channels, num_classes, head_channels, iou, velocity)
        super().__init__(encoder, backbone, bev, head)


class DSVTTransFusion(DSVTDetector):
    """DSVT with TransFusion's head. The defaults of the widths are the published ones for nuScenes.

    Args:
        num_classes, in_features, point_range, voxel_size, stages, channels, heads, feedforward, hybrid_factor, pooling, activation,
            matched_positions, checkpoint_blocks, any_height, bev_blocks, bev_strides, bev_channels, bev_up_strides,
            bev_up_channels, normalize_positions: as in `DSVTCenter`.
        num_proposals, hidden, key_radius, crowded_classes, velocity, wrap_keys, released_init: of `TransFusionHead`.

    Raises:
        ValueError: numbers that do not fit together; the message says which to change.
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        point_range: Range,
        voxel_size: Size,
        stages: Sequence[StageConfig],
        channels: int = 128,
        heads: int = 8,
        feedforward: int | None = None,
        hybrid_factor: Triple = (1, 1, 1),
        pooling: Literal["attention", "linear", "max"] = "attention",
        activation: Literal["gelu", "relu"] = "gelu",
        matched_positions: bool = False,  # see DSVTBackbone: published weights are without
        checkpoint_blocks: bool = False,
        any_height: bool = True,
        bev_blocks: Sequence[int] = (1, 2, 2),
        bev_strides: Sequence[int] = (1, 2, 2),
        bev_channels: Sequence[int] = (128, 128, 256),
        bev_up_strides: Sequence[float] = (0.5, 1, 2),
        bev_up_channels: Sequence[int] = (128, 128, 128),
        num_proposals: int = 200,
        hidden: int = 128,
        key_radius: int = 20,
        crowded_classes: Sequence[int] = (8, 9),
        velocity: bool = True,
        wrap_keys: bool = False,  # see TransFusionHead: released weights are with
        released_init: bool = False,
        normalize_positions: bool = False,
    ):
        encoder = PointEncoder(in_features, channels, voxel_size, point_range, any_height)
        backbone = DSVTBackbone(
            encoder.grid,
            [_stage(stage) for stage in stages],
            channels,
            heads,
            2 * channels if feedforward is None else feedforward,
            hybrid_factor,
            pooling,
            activation,
            matched_positions,
            checkpoint_blocks,
            normalize_positions,
        )
        bev = BevBackbone(channels, bev_blocks, bev_strides, bev_channels, bev_up_strides, bev_up_channels)
        head = TransFusionHead(
            bev.out_channels,
            num_classes,
            num_proposals,
            hidden,
            key_radius=key_radius,
            crowded_classes=crowded_classes,
            velocity=velocity,
            wrap_keys=wrap_keys,
            released_init=released_init,
        )
        super().__init__(encoder, backbone, bev, head)


def _stage(stage: StageConfig | dict[str, Any]) -> StageConfig:
    return stage if isinstance(stage, StageConfig) else StageConfig(**stage)
