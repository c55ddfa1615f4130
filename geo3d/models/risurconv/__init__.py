"""RISurConv (ECCV 2024): rotation-invariant classification and part segmentation of oriented point clouds."""

from geo3d.models.risurconv.layers import FeaturePropagation, GroupAll, SetAbstraction, Surface, SurfaceConv
from geo3d.models.risurconv.networks import RISurConvClassifier, RISurConvSegmentor

__all__ = [
    "FeaturePropagation",
    "GroupAll",
    "RISurConvClassifier",
    "RISurConvSegmentor",
    "SetAbstraction",
    "Surface",
    "SurfaceConv",
]
