"""Data sets in their native formats, transforms, batches and Lightning data modules.

A name is imported from its module when it is first asked for: reading a mesh need not import Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo3d.data.bodies.modules import Amass
    from geo3d.data.files.geometry import Geometry, read_geometry
    from geo3d.data.generated import (
        GeneratedBodies,
        GeneratedHands,
        GeneratedHandScenes,
        GeneratedRenders,
        GeneratedShapes,
        GeneratedStreets,
    )
    from geo3d.data.hands.modules import FreiHand, HandFolder, HandScenes
    from geo3d.data.images.image_folders import ImageFolderDataset, ImageFolders
    from geo3d.data.images.modules import Pix3D, ShapeNetR2N2
    from geo3d.data.images.pix3d import Pix3DDataset
    from geo3d.data.images.preprocessing import prepare_views
    from geo3d.data.images.reconstruction import ReconstructionBatch, ReconstructionSample, ViewSettings
    from geo3d.data.images.shapenet_r2n2 import R2N2Dataset
    from geo3d.data.lidar.detection import LidarBatch
    from geo3d.data.lidar.modules import Kitti, NuScenes, Waymo
    from geo3d.data.lidar.sweeps import CameraView, LidarSample, read_sweep
    from geo3d.data.shapes.fg3d import FG3D, FG3DDataset
    from geo3d.data.shapes.modelnet40 import ModelNet40, ModelNet40Dataset
    from geo3d.data.shapes.modelnet_off import ModelNetOff, ModelNetOffDataset
    from geo3d.data.shapes.normals import estimate_normals
    from geo3d.data.shapes.samples import (
        ClassificationBatch,
        ClassificationSample,
        PartBatch,
        PartSample,
        collate_classification,
        collate_parts,
    )
    from geo3d.data.shapes.scanobjectnn import ScanObjectNN, ScanObjectNNDataset
    from geo3d.data.shapes.shapenet_part import ShapeNetPart, ShapeNetPartDataset

__all__ = [
    "FG3D",
    "Amass",
    "CameraView",
    "ClassificationBatch",
    "ClassificationSample",
    "FG3DDataset",
    "FreiHand",
    "GeneratedBodies",
    "GeneratedHandScenes",
    "GeneratedHands",
    "GeneratedRenders",
    "GeneratedShapes",
    "GeneratedStreets",
    "Geometry",
    "HandFolder",
    "HandScenes",
    "ImageFolderDataset",
    "ImageFolders",
    "Kitti",
    "LidarBatch",
    "LidarSample",
    "ModelNet40",
    "ModelNet40Dataset",
    "ModelNetOff",
    "ModelNetOffDataset",
    "NuScenes",
    "PartBatch",
    "PartSample",
    "Pix3D",
    "Pix3DDataset",
    "R2N2Dataset",
    "ReconstructionBatch",
    "ReconstructionSample",
    "ScanObjectNN",
    "ScanObjectNNDataset",
    "ShapeNetPart",
    "ShapeNetPartDataset",
    "ShapeNetR2N2",
    "ViewSettings",
    "Waymo",
    "collate_classification",
    "collate_parts",
    "estimate_normals",
    "prepare_views",
    "read_geometry",
    "read_sweep",
]

_MODULES = {
    "bodies.modules": ("Amass",),
    "files.geometry": ("Geometry", "read_geometry"),
    "hands.modules": ("FreiHand", "HandFolder", "HandScenes"),
    "lidar.detection": ("LidarBatch",),
    "lidar.modules": ("Kitti", "NuScenes", "Waymo"),
    "lidar.sweeps": ("CameraView", "LidarSample", "read_sweep"),
    "shapes.fg3d": ("FG3D", "FG3DDataset"),
    "generated": (
        "GeneratedBodies",
        "GeneratedHandScenes",
        "GeneratedHands",
        "GeneratedRenders",
        "GeneratedShapes",
        "GeneratedStreets",
    ),
    "images.image_folders": ("ImageFolderDataset", "ImageFolders"),
    "images.modules": ("Pix3D", "ShapeNetR2N2"),
    "images.pix3d": ("Pix3DDataset",),
    "images.preprocessing": ("prepare_views",),
    "images.reconstruction": ("ReconstructionBatch", "ReconstructionSample", "ViewSettings"),
    "images.shapenet_r2n2": ("R2N2Dataset",),
    "shapes.modelnet40": ("ModelNet40", "ModelNet40Dataset"),
    "shapes.modelnet_off": ("ModelNetOff", "ModelNetOffDataset"),
    "shapes.normals": ("estimate_normals",),
    "shapes.samples": (
        "ClassificationBatch",
        "ClassificationSample",
        "PartBatch",
        "PartSample",
        "collate_classification",
        "collate_parts",
    ),
    "shapes.scanobjectnn": ("ScanObjectNN", "ScanObjectNNDataset"),
    "shapes.shapenet_part": ("ShapeNetPart", "ShapeNetPartDataset"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'geo3d.data' has no attribute {name!r}")
    return getattr(import_module(f"geo3d.data.{_HOME[name]}"), name)
