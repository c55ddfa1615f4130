"""DSVT (CVPR 2023): 3D object detection on LiDAR points by attention among sparse voxels."""

from geo3d.models.dsvt.backbone import DSVTBackbone, StageConfig
from geo3d.models.dsvt.blocks import Block, SetAttention, SetLayer
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.models.dsvt.encoder import PointEncoder, VoxelFeatures
from geo3d.models.dsvt.networks import DSVTCenter, DSVTTransFusion
from geo3d.models.dsvt.pooling import AttentionPooling, LinearPooling, MaxPooling
from geo3d.models.dsvt.variants import nuscenes_pillar, untrained_in_paper, waymo_pillar, waymo_voxel

__all__ = [
    "AttentionPooling",
    "Block",
    "DSVTBackbone",
    "DSVTCenter",
    "DSVTDetector",
    "DSVTTransFusion",
    "LinearPooling",
    "MaxPooling",
    "PointEncoder",
    "SetAttention",
    "SetLayer",
    "StageConfig",
    "VoxelFeatures",
    "nuscenes_pillar",
    "untrained_in_paper",
    "waymo_pillar",
    "waymo_voxel",
]
