"""What each task shows, from plain arrays: `..._scene` gives a `Scene`, `..._sheet` and `..._picture` write a picture."""

from geo3d.viz.builders.body import body_scene
from geo3d.viz.builders.detection import detection_scene, detection_sheet, detection_views
from geo3d.viz.builders.hand import HAND_BONES, hand_scene, hand_sheet
from geo3d.viz.builders.objects import object_sheet
from geo3d.viz.builders.reconstruction import reconstruction_scene, reconstruction_sheet, voxel_surface
from geo3d.viz.builders.shapes import classification_sheet, parts_picture, parts_scene
from geo3d.viz.sheets import confusion_matrix, scene_sheet

__all__ = [
    "HAND_BONES",
    "body_scene",
    "classification_sheet",
    "confusion_matrix",
    "detection_scene",
    "detection_sheet",
    "detection_views",
    "hand_scene",
    "hand_sheet",
    "object_sheet",
    "parts_picture",
    "parts_scene",
    "reconstruction_scene",
    "reconstruction_sheet",
    "scene_sheet",
    "voxel_surface",
]
