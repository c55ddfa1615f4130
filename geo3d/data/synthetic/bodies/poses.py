"""Poses that a person can take: drawn around some that are named, within the limits of each joint."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from geo3d.body.kinematics import SMPL_JOINTS

# Angles in degrees about x, y and z, of the left side where there are two; x points left, y up and z to the front. Legs and arms are turned about
# z, then x, then y, each axis fixed to the trunk: raised to the side, then to the front, then turned about the vertical.
Angles = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
LIMITS: dict[str, Angles] = {
    "spine1": ((-20, 35), (-15, 15), (-15, 15)),
    "spine2": ((-15, 25), (-15, 15), (-12, 12)),
    "spine3": ((-15, 20), (-15, 15), (-12, 12)),
    "neck": ((-25, 30), (-35, 35), (-20, 20)),
    "head": ((-20, 25), (-30, 30), (-15, 15)),
    "hip": ((-125, 30), (-40, 40), (-25, 60)),
    "knee": ((0, 145), (-5, 5), (-3, 3)),
    "ankle": ((-30, 40), (-15, 15), (-15, 15)),
    "foot": ((-20, 30), (0, 0), (0, 0)),
    "collar": ((-5, 5), (-15, 10), (-10, 25)),
    "shoulder": ((-80, 80), (-115, 40), (-85, 90)),
    "elbow": ((-60, 60), (-145, 0), (-3, 3)),
    "wrist": ((-50, 50), (-20, 25), (-60, 60)),
    "hand": ((0, 0), (-5, 5), (-70, 10)),
}
SPREAD: dict[str, float] = {"elbow": 22, "shoulder": 22, "hip": 14, "knee": 16, "wrist": 14, "neck": 10, "head": 9, "hand": 15}
USUAL_SPREAD = 6.0  # degrees, of the other joints
Pose = Mapping[str, tuple[float, float, float]]
# named joints; "left_" and "right_" where the sides differ, right ones already mirrored to the left
ARMS_DOWN = {"shoulder": (0, 0, -70)}
POSES: dict[str, Pose] = {
    "standing": ARMS_DOWN,
    "t_pose": {},
    "a_pose": {"shoulder": (0, 0, -40)},
    "walking": {
        **{"left_hip": (-28, 0, 0), "right_hip": (18, 0, 0), "left_knee": (12, 0, 0), "right_knee": (35, 0, 0)},
        **{"left_shoulder": (0, 25, -70), "right_shoulder": (0, -30, -70), "elbow": (0, -25, 0)},
    },
    "running": {
        **{
            "left_hip": (-70, 0, 0),
            "right_hip": (20, 0, 0),
            "left_knee": (80, 0, 0),
            "right_knee": (70, 0, 0),
            "spine1": (12, 0, 0),
        },
        **{"left_shoulder": (0, 35, -65), "right_shoulder": (0, -50, -60), "elbow": (0, -90, 0)},
    },
    "arms_overhead": {"shoulder": (0, -15, 78), "collar": (0, 0, 18)},
    "reaching": {"left_shoulder": (0, -85, -5), "right_shoulder": (0, -10, -65), "spine2": (10, 0, 0)},
    "sitting": {"hip": (-92, 0, 8), "knee": (90, 0, 0), "shoulder": (0, -25, -62), "elbow": (0, -45, 0)},
    "crouching": {
        "hip": (-115, 0, 18),
        "knee": (132, 0, 0),
        "ankle": (-22, 0, 0),
        "spine1": (25, 0, 0),
        "shoulder": (0, -55, -45),
    },
    "kneeling": {"left_hip": (-90, 0, 5), "right_hip": (5, 0, 5), "knee": (92, 0, 0), "shoulder": (0, -20, -65)},
    "bending": {
        "hip": (-65, 0, 4),
        "spine1": (30, 0, 0),
        "spine2": (22, 0, 0),
        "spine3": (15, 0, 0),
        "shoulder": (0, -75, -25),
    },
    "arms_crossed": {"shoulder": (0, -90, -50), "elbow": (0, -105, 0)},
    "legs_crossed": {"left_hip": (-95, 0, -18), "right_hip": (-90, 0, 5), "knee": (92, 0, 0), "shoulder": (0, -25, -62)},
    "cross_legged": {"hip": (-95, 35, 52), "knee": (130, 0, 0), "shoulder": (0, -30, -60), "elbow": (0, -40, 0)},
    "lunging": {
        "left_hip": (-80, 0, 5),
        "left_knee": (80, 0, 0),
        "right_hip": (25, 0, 5),
        "right_knee": (15, 0, 0),
        "shoulder": (0, 0, -15),
    },
    "kicking": {"left_hip": (-95, 0, 10), "left_knee": (10, 0, 0), "right_knee": (10, 0, 0), "shoulder": (0, -25, -20)},
    "dancing": {
        "left_hip": (-30, 20, 50),
        "left_knee": (70, 0, 0),
        "left_shoulder": (0, -20, 60),
        "right_shoulder": (0, -30, 0),
    },
    "any": {},
}
HARD = (
    "arms_overhead",
    "sitting",
    "crouching",
    "kneeling",
    "bending",
    "arms_crossed",
    "legs_crossed",
    "cross_legged",
    "kicking",
)


def sample_pose(rng: np.random.Generator, name: str | None = None) -> np.ndarray:
    """Axis-angle vectors [24, 3] of SMPL's joints relative to their parents, the root not turned.

    Args:
        rng: source of the draws.
        name: one of `POSES`, around which is drawn; "any" draws every joint evenly within its limits; None draws the name.

    Raises:
        ValueError: no such pose.
    """
    if name is None:
        name = list(POSES)[rng.integers(len(POSES))]
    if name not in POSES:
        raise ValueError(f"sample_pose: name must be one of {', '.join(POSES)}, got {name!r}")
    is_mirrored = rng.random() < 0.5  # poses with a left and a right leg are as often the other way round
    vectors = np.zeros((len(SMPL_JOINTS), 3))
    for joint, label in enumerate(SMPL_JOINTS[1:], 1):
        side, _, kind = label.rpartition("_")
        low, high = np.array(LIMITS[kind], dtype=float).T
        if name == "any":
            middle, half = (low + high) / 2, (high - low) / 2
            degrees = middle + half * rng.beta(2, 2, 3) * rng.choice([-1, 1], 3)
        else:
            shown = {"left": "right", "right": "left"}.get(side, side) if is_mirrored else side
            base = POSES[name].get(f"{shown}_{kind}", POSES[name].get(kind, (0, 0, 0)))
            degrees = np.asarray(base) + rng.normal(0, SPREAD.get(kind, USUAL_SPREAD), 3) * (high > low)
        degrees = np.clip(degrees, low, high)
        if side == "right":
            degrees = degrees * (1, -1, -1)
        vectors[joint] = Rotation.from_euler("zxy", degrees[[2, 0, 1]], degrees=True).as_rotvec()
    return vectors


def sample_orientation(rng: np.random.Generator, upright: float = 0.5) -> np.ndarray:
    """Axis-angle vector [3] of the root: with the probability `upright` turned about the vertical and tilted a little, otherwise any rotation."""
    if rng.random() < upright:
        turn = Rotation.from_euler("y", rng.uniform(-180, 180), degrees=True)
        return (Rotation.from_rotvec(rng.normal(0, 0.1, 3)) * turn).as_rotvec()
    return Rotation.random(random_state=int(rng.integers(2**31))).as_rotvec()
