"""The detectors of the paper (section 4.1) with fresh weights, their numbers in one place."""

from __future__ import annotations

from geo3d.models.detection import BevBackbone, CenterHead, TransFusionHead
from geo3d.models.dsvt.backbone import DSVTBackbone, StageConfig
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.models.dsvt.encoder import PointEncoder

WAYMO_RANGE = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0)
NUSCENES_RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


def waymo_pillar(channels: int = 192) -> DSVTDetector:
    """One stage on pillars of 0.32 m; points are x, y, z, tanh(intensity), tanh(elongation), 3 classes."""
    encoder = PointEncoder(5, channels, (0.32, 0.32, 6.0), WAYMO_RANGE)
    stages = [StageConfig(4, 36, (12, 12, 1), (6, 6, 0))]
    backbone = DSVTBackbone(encoder.grid, stages, channels, feedforward=2 * channels)
    bev = BevBackbone(channels)
    return DSVTDetector(encoder, backbone, bev, CenterHead(bev.out_channels, 3))


def waymo_voxel(channels: int = 192) -> DSVTDetector:
    """Four stages that bring 32 layers of voxels to one by attention pooling; otherwise as `waymo_pillar`."""
    encoder = PointEncoder(5, channels, (0.32, 0.32, 0.1875), WAYMO_RANGE)
    stages = [
        StageConfig(1, 48, (12, 12, 32), (6, 6, 0)),
        StageConfig(1, 48, (12, 12, 8), (6, 6, 0), stride=(1, 1, 4)),
        StageConfig(1, 48, (12, 12, 2), (6, 6, 0), stride=(1, 1, 4)),
        StageConfig(1, 48, (12, 12, 1), (6, 6, 0), stride=(1, 1, 2)),
    ]
    backbone = DSVTBackbone(encoder.grid, stages, channels, feedforward=2 * channels)
    bev = BevBackbone(channels)
    return DSVTDetector(encoder, backbone, bev, CenterHead(bev.out_channels, 3))


def nuscenes_pillar(as_released: bool = False) -> DSVTDetector:
    """One stage on pillars of 0.3 m of any height; points are x, y, z, intensity (0 to 255), time lag (s); 10 classes.

    Args:
        as_released: build the head with the released checkpoint's quirks, see `TransFusionHead`.
    """
    encoder = PointEncoder(5, 128, (0.3, 0.3, 8.0), NUSCENES_RANGE, any_height=True)
    stages = [StageConfig(4, 90, (30, 30, 1), (15, 15, 0))]
    backbone = DSVTBackbone(encoder.grid, stages, 128, feedforward=256, hybrid_factor=(1, 1, 1))
    bev = BevBackbone(128, up_strides=(0.5, 1, 2))
    head = TransFusionHead(bev.out_channels, wrap_keys=as_released, released_init=as_released)
    return DSVTDetector(encoder, backbone, bev, head)
