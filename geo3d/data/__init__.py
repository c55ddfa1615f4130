"""Data sets in their native formats, transforms, batches and Lightning data modules.

A name is imported from its module when it is first asked for: reading a mesh need not import Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo3d.data.detection import LidarBatch
    from geo3d.data.detection_modules import Kitti, NuScenes, Waymo
    from geo3d.data.fg3d import FG3D, FG3DDataset
    from geo3d.data.generated import GeneratedShapes, GeneratedStreets
    from geo3d.data.modelnet40 import ModelNet40, ModelNet40Dataset
    from geo3d.data.modelnet_off import ModelNetOff, ModelNetOffDataset
    from geo3d.data.normals import estimate_normals
    from geo3d.data.samples import (
        ClassificationBatch,
        ClassificationSample,
        PartBatch,
        PartSample,
        collate_classification,
        collate_parts,
    )
    from geo3d.data.scanobjectnn import ScanObjectNN, ScanObjectNNDataset
    from geo3d.data.shapenet_part import ShapeNetPart, ShapeNetPartDataset

__all__ = [
    "FG3D",
    "ClassificationBatch",
    "ClassificationSample",
    "FG3DDataset",
    "GeneratedShapes",
    "GeneratedStreets",
    "Kitti",
    "LidarBatch",
    "ModelNet40",
    "ModelNet40Dataset",
    "ModelNetOff",
    "ModelNetOffDataset",
    "NuScenes",
    "PartBatch",
    "PartSample",
    "ScanObjectNN",
    "ScanObjectNNDataset",
    "ShapeNetPart",
    "ShapeNetPartDataset",
    "Waymo",
    "collate_classification",
    "collate_parts",
    "estimate_normals",
]

_MODULES = {
    "detection": ("LidarBatch",),
    "detection_modules": ("Kitti", "NuScenes", "Waymo"),
    "fg3d": ("FG3D", "FG3DDataset"),
    "generated": ("GeneratedShapes", "GeneratedStreets"),
    "modelnet40": ("ModelNet40", "ModelNet40Dataset"),
    "modelnet_off": ("ModelNetOff", "ModelNetOffDataset"),
    "normals": ("estimate_normals",),
    "samples": (
        "ClassificationBatch",
        "ClassificationSample",
        "PartBatch",
        "PartSample",
        "collate_classification",
        "collate_parts",
    ),
    "scanobjectnn": ("ScanObjectNN", "ScanObjectNNDataset"),
    "shapenet_part": ("ShapeNetPart", "ShapeNetPartDataset"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'geo3d.data' has no attribute {name!r}")
    return getattr(import_module(f"geo3d.data.{_HOME[name]}"), name)
