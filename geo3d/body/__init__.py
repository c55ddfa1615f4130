"""Bodies: kinematics, and body models from files; the models themselves are those of `smplx`."""

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
    "PARTS",
    "SMPL_JOINTS",
    "SMPL_PARENTS",
    "forward_kinematics",
    "global_to_local",
    "load_body_model",
    "local_to_global",
    "part_labels",
    "part_means",
    "read_model_file",
]
