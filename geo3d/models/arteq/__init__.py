"""ArtEq: pose, shape and parts of a body from its points."""

from geo3d.models.arteq.encoder import (
    EquivariantEncoder,
    InterConv,
    IntraConv,
    LayerSettings,
    PointFeatures,
    SeparableBlock,
    encoder_layers,
)
from geo3d.models.arteq.group import IcosahedralGroup, icosahedral_group, kernel_points
from geo3d.models.arteq.heads import AttentionStack, PartSegmenter
from geo3d.models.arteq.losses import ArtEqLoss, ArtEqLosses, BodyModelLoss, BodyModelLosses, BodyTargets
from geo3d.models.arteq.network import ArtEq, BodyEstimate, aggregate_parts

__all__ = [
    "ArtEq",
    "ArtEqLoss",
    "ArtEqLosses",
    "AttentionStack",
    "BodyEstimate",
    "BodyModelLoss",
    "BodyModelLosses",
    "BodyTargets",
    "EquivariantEncoder",
    "IcosahedralGroup",
    "InterConv",
    "IntraConv",
    "LayerSettings",
    "PartSegmenter",
    "PointFeatures",
    "SeparableBlock",
    "aggregate_parts",
    "encoder_layers",
    "icosahedral_group",
    "kernel_points",
]
