"""Data sets in their native formats, transforms, batches and Lightning data modules.

A name is imported from its module when it is first asked for: reading a mesh need not import Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo3d.data.generated import GeneratedShapes
    from geo3d.data.modelnet40 import ModelNet40, ModelNet40Dataset
    from geo3d.data.samples import (
        ClassificationBatch,
        ClassificationSample,
        PartBatch,
        PartSample,
        collate_classification,
        collate_parts,
    )
    from geo3d.data.shapenet_part import ShapeNetPart, ShapeNetPartDataset

__all__ = [
    "ClassificationBatch",
    "ClassificationSample",
    "GeneratedShapes",
    "ModelNet40",
    "ModelNet40Dataset",
    "PartBatch",
    "PartSample",
    "ShapeNetPart",
    "ShapeNetPartDataset",
    "collate_classification",
    "collate_parts",
]

_MODULES = {
    "generated": ("GeneratedShapes",),
    "modelnet40": ("ModelNet40", "ModelNet40Dataset"),
    "samples": (
        "ClassificationBatch",
        "ClassificationSample",
        "PartBatch",
        "PartSample",
        "collate_classification",
        "collate_parts",
    ),
    "shapenet_part": ("ShapeNetPart", "ShapeNetPartDataset"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'geo3d.data' has no attribute {name!r}")
    return getattr(import_module(f"geo3d.data.{_HOME[name]}"), name)
