"""The detectors of the paper (section 4.1) with fresh weights, their numbers in one place, and what their training left out."""

from __future__ import annotations

from torch import nn

from geo3d.models.detection import BevBackbone, CenterHead, TransFusionHead
from geo3d.models.detection.local_attention import LocalDecoderLayer
from geo3d.models.dsvt.backbone import DSVTBackbone, StageConfig
from geo3d.models.dsvt.blocks import SetAttention
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.models.dsvt.encoder import PointEncoder
from geo3d.models.dsvt.pooling import AttentionPooling

WAYMO_RANGE = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0)
NUSCENES_RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)

STACKED = {  # parts of a module that are one parameter owned by the module itself in the authors' code
    SetAttention: ("in_projection",),
    AttentionPooling: ("in_projection", "position"),
    LocalDecoderLayer: ("self_value", "query.", "key_value"),
}


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


def untrained_in_paper(network: nn.Module) -> list[str]:
    """Names of the parameters that stay at their initial values in the published results.

    The authors' optimiser was given the parameters of modules without children only, so that the projections to queries, keys and
    values of all attentions, and the slot positions of attention pooling, were never updated. Leave these out to train as
    published; to train well, train all. They do count when the gradient's norm is clipped.
    """
    owners = [(prefix, parts) for prefix, module in network.named_modules() for parts in [STACKED.get(type(module))] if parts]
    return [
        name
        for name, _ in network.named_parameters()
        if any(name.startswith(f"{prefix}.{part}") for prefix, parts in owners for part in parts)
    ]
