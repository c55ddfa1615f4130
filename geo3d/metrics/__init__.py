"""Metrics, equal to the official evaluators' on the same predictions.

A name is imported from its module when it is first asked for, as in `geo3d.data`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo3d.metrics.body import mean_distance_cm, part_accuracy
    from geo3d.metrics.box_recall import BoxRecall
    from geo3d.metrics.classification import class_accuracy, overall_accuracy
    from geo3d.metrics.hands import HandErrors, RootErrors, keypoint_auc_2d
    from geo3d.metrics.kitti import KittiAveragePrecision, kitti_average_precision
    from geo3d.metrics.nuscenes import NuScenesDetectionScore
    from geo3d.metrics.nuscenes_results import NuScenesDetections, nuscenes_detections
    from geo3d.metrics.part_iou import PartIoU, shape_iou
    from geo3d.metrics.voxel_surfaces import surface_f_score
    from geo3d.metrics.voxels import ReconstructionScores, voxel_iou
    from geo3d.metrics.waymo import WaymoAveragePrecision

__all__ = [
    "BoxRecall",
    "HandErrors",
    "KittiAveragePrecision",
    "NuScenesDetectionScore",
    "NuScenesDetections",
    "PartIoU",
    "ReconstructionScores",
    "RootErrors",
    "WaymoAveragePrecision",
    "class_accuracy",
    "keypoint_auc_2d",
    "kitti_average_precision",
    "mean_distance_cm",
    "nuscenes_detections",
    "overall_accuracy",
    "part_accuracy",
    "shape_iou",
    "surface_f_score",
    "voxel_iou",
]

_MODULES = {
    "body": (
        "mean_distance_cm",
        "part_accuracy",
    ),
    "box_recall": ("BoxRecall",),
    "classification": (
        "class_accuracy",
        "overall_accuracy",
    ),
    "hands": (
        "HandErrors",
        "RootErrors",
        "keypoint_auc_2d",
    ),
    "kitti": (
        "KittiAveragePrecision",
        "kitti_average_precision",
    ),
    "nuscenes": ("NuScenesDetectionScore",),
    "nuscenes_results": (
        "NuScenesDetections",
        "nuscenes_detections",
    ),
    "part_iou": (
        "PartIoU",
        "shape_iou",
    ),
    "voxel_surfaces": ("surface_f_score",),
    "voxels": (
        "ReconstructionScores",
        "voxel_iou",
    ),
    "waymo": ("WaymoAveragePrecision",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'geo3d.metrics' has no attribute {name!r}")
    return getattr(import_module(f"geo3d.metrics.{_HOME[name]}"), name)
