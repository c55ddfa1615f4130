"""Simple bodies along a skeleton, where a picture needs a mesh and no model has made one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Solid, superellipsoid, tube

# A body in T-pose, y up, facing +z, as shares of its height; each joint with its parent.
BODY_JOINTS = {
    "pelvis": (None, (0, 0.53, 0)),
    "spine": ("pelvis", (0, 0.64, 0)),
    "chest": ("spine", (0, 0.74, 0)),
    "neck": ("chest", (0, 0.85, 0)),
    "head": ("neck", (0, 0.93, 0.01)),
    **{
        f"{side} {name}": (parent if parent in ("pelvis", "chest") else f"{side} {parent}", (sign * x, y, z))
        for side, sign in (("left", 1), ("right", -1))
        for name, parent, (x, y, z) in (
            ("hip", "pelvis", (0.052, 0.51, 0)),
            ("knee", "hip", (0.062, 0.28, 0)),
            ("ankle", "knee", (0.066, 0.05, -0.02)),
            ("toes", "ankle", (0.075, 0.012, 0.07)),
            ("shoulder", "chest", (0.1, 0.81, -0.01)),
            ("elbow", "shoulder", (0.25, 0.8, -0.02)),
            ("wrist", "elbow", (0.4, 0.8, -0.01)),
            ("fingers", "wrist", (0.49, 0.8, 0)),
        )
    },
}
# Radii at parent and joint, as shares of the height.
BODY_RADII = {"spine": (0.085, 0.08), "chest": (0.08, 0.085), "neck": (0.05, 0.033), "head": (0.035, 0.035)}
LIMB_RADII = {
    **{"hip": (0.06, 0.052), "knee": (0.05, 0.033), "ankle": (0.034, 0.021), "toes": (0.021, 0.016)},
    **{"shoulder": (0.06, 0.036), "elbow": (0.032, 0.024), "wrist": (0.023, 0.017), "fingers": (0.02, 0.009)},
}


def joined(solids: Sequence[Solid]) -> tuple[np.ndarray, np.ndarray]:
    """Solids as one mesh: vertices [V, 3], faces [F, 3]."""
    starts = np.cumsum([0, *(len(solid.vertices) for solid in solids)])
    faces = [solid.faces + start for solid, start in zip(solids, starts, strict=False)]
    return np.concatenate([solid.vertices for solid in solids]), np.concatenate(faces)


def limb(start: np.ndarray, end: np.ndarray, radii: tuple[float, float]) -> list[Solid]:
    """A tapered tube with a ball at each end."""
    balls = [superellipsoid((radius,) * 3, tuple(place)) for place, radius in zip((start, end), radii, strict=True)]
    return [tube(np.array([start, end]), np.array(radii)), *balls]


def body(height: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A body in T-pose that stands on y = 0: vertices, faces, joints [J, 3], bones [B, 2]."""
    names = list(BODY_JOINTS)
    joints = height * np.array([place for _, place in BODY_JOINTS.values()])
    bones = np.array([(names.index(parent), row) for row, (parent, _) in enumerate(BODY_JOINTS.values()) if parent])
    solids = [superellipsoid((0.045 * height, 0.065 * height, 0.055 * height), tuple(joints[names.index("head")]))]
    for parent, row in bones:
        radii = BODY_RADII.get(names[row]) or LIMB_RADII[names[row].split()[-1]]
        solids += limb(joints[parent], joints[row], (height * radii[0], height * radii[1]))
    return *joined(solids), joints, bones
