if __name__ != "geo3d.viz":
    raise ImportError(f"this package is geo3d.viz, not {__name__!r}; run `pip install -e .` and import geo3d")

from geo3d.viz.builders.shapes import classification_sheet, parts_picture
from geo3d.viz.camera import VIEWS, View
from geo3d.viz.colors import PALETTE, by_distance, by_height, by_label, by_value
from geo3d.viz.handle import Handle
from geo3d.viz.layers import Mesh, Points
from geo3d.viz.scene import Scene
from geo3d.viz.sequence import SceneSequence
from geo3d.viz.sheets import confusion_matrix

__all__ = [
    "PALETTE",
    "VIEWS",
    "Handle",
    "Mesh",
    "Points",
    "Scene",
    "SceneSequence",
    "View",
    "by_distance",
    "by_height",
    "by_label",
    "by_value",
    "classification_sheet",
    "confusion_matrix",
    "parts_picture",
]
