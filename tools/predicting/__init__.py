"""How `geo3d predict` runs models: for each task their options, the files they write, and their results."""

from geo3d.tools.predicting import bodies, boxes, classes, hands, parts, voxels
from geo3d.tools.predicting.files import check_files
from geo3d.tools.predicting.kind import Kind

KINDS: dict[str, Kind] = {  # by task, as the weights name it
    "body_fitting": bodies.KIND,
    "classification": classes.KIND,
    "detection": boxes.KIND,
    "hand_mesh": hands.KIND,
    "part_segmentation": parts.KIND,
    "reconstruction": voxels.KIND,
}

__all__ = ["KINDS", "Kind", "check_files"]
