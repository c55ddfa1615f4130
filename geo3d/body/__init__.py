"""Bodies: kinematics, and body models from files; the models themselves are those of `smplx`."""

from geo3d.body.hands import (
    KEYPOINT_ORDER,
    KEYPOINT_PARENTS,
    TIP_VERTICES,
    keypoint_regressor,
    keypoints,
    load_hand,
    mirrored_hand,
    read_hand,
)
from geo3d.body.kinematics import (
    SMPL_JOINTS,
    SMPL_PARENTS,
    forward_kinematics,
    global_to_local,
    local_to_global,
)
from geo3d.body.models import load_body_model
from geo3d.body.parts import PARTS, part_labels, part_means
from geo3d.body.pickles import read_model_file

__all__ = [
    "KEYPOINT_ORDER",
    "KEYPOINT_PARENTS",
    "PARTS",
    "SMPL_JOINTS",
    "SMPL_PARENTS",
    "TIP_VERTICES",
    "forward_kinematics",
    "global_to_local",
    "keypoint_regressor",
    "keypoints",
    "load_body_model",
    "load_hand",
    "local_to_global",
    "mirrored_hand",
    "part_labels",
    "part_means",
    "read_hand",
    "read_model_file",
]
