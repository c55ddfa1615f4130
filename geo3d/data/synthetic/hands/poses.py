"""Poses that hands take: joint angles within their limits, kinds of gestures, and fingers kept from going through each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from geo3d.data.synthetic.hands.model import FINGER_ROOTS, HandModel, hand_model

FINGERS = ("index", "middle", "ring", "little")
# Degrees: knuckle (extension to flexion), its spread, middle joint, end joint. After textbook ranges of motion.
LIMITS = {"mcp": (-25, 90), "spread": (-16, 16), "pip": (-4, 108), "dip": (-8, 75)}
THUMB_LIMITS = {"flex": (-28, 38), "abduct": (-28, 28), "twist": (-15, 40), "mcp": (-12, 52), "ip": (-18, 78)}
KINDS = {"random": 0.24, "fist": 0.1, "pinch": 0.12, "point": 0.09, "count": 0.12, "spread": 0.1, "grasp": 0.13, "relaxed": 0.1}
FREE = 0.0015  # metres of overlap that flesh gives way to
FIRST_CANDIDATES, CANDIDATES = 3, 12  # poses tried before the least intersecting one is taken
PINCH_CANDIDATES = 48  # more: the tips have to meet
RADII = np.array([0.0098, 0.0078, 0.0082, 0.0078, 0.0068])  # of thumb, index, ... little finger, metres at the middle


@dataclass(frozen=True)
class Pose:
    """A pose.

    Attributes:
        kind: one of KINDS.
        joints: [15, 3] axis-angles in MANO's order, radians.
        wrist: [3] axis-angle of the hand against the forearm.
    """

    kind: str
    joints: np.ndarray
    wrist: np.ndarray


@dataclass(frozen=True, eq=False)
class Axes:
    """Axes of the joints [15, 3] in the frame of the hand at rest, and the angles [15] that the rest has, radians."""

    flex: np.ndarray
    spread: np.ndarray
    rest: np.ndarray


def draw_pose(rng: np.random.Generator, kind: str | None = None) -> Pose:
    """A pose of a kind, or of a kind drawn by KINDS.

    Raises:
        ValueError: no such kind.
    """
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind not in KINDS:
        raise ValueError(f"draw_pose: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    number = PINCH_CANDIDATES if kind == "pinch" else FIRST_CANDIDATES
    joints = _to_joints(np.stack([_angles(kind, rng) for _ in range(number)]))
    overlap = intersection(joints)
    if kind != "pinch" and overlap.min() > FREE:
        joints = _to_joints(np.stack([_angles(kind, rng) for _ in range(CANDIDATES)]))
        overlap = intersection(joints)
    if kind == "pinch":
        overlap = overlap + 2 * np.abs(pinch_gap(joints) - rng.uniform(0.012, 0.02))
        best = int(overlap.argmin())
    else:
        free = np.nonzero(overlap <= FREE)[0]
        best = int(free[0]) if len(free) else int(overlap.argmin())
    wrist = np.radians([rng.normal(0, 6), rng.normal(0, 10), rng.normal(5, 24)]).clip(-1.1, 1.1)
    return Pose(kind, joints[best], wrist)


def _angles(kind: str, rng: np.random.Generator) -> np.ndarray:
    """[5, 5] degrees: rows thumb (flex, abduct, twist, mcp, ip), then the fingers (mcp, spread, pip, dip, unused)."""
    curls = {
        "fist": lambda: rng.normal(1.0, 0.05) + rng.normal(0, 0.02, 4),
        "spread": lambda: rng.normal(0.02, 0.04) + rng.normal(0, 0.03, 4),
        "relaxed": lambda: np.linspace(0.22, 0.36, 4) * rng.uniform(0.5, 1.4) + rng.normal(0, 0.04, 4),
        "grasp": lambda: rng.uniform(0.3, 0.7) + rng.normal(0, 0.05, 4),
        "pinch": lambda: np.append(
            rng.uniform(0.35, 0.6), np.linspace(0, 1, 3) * rng.uniform(-0.3, 0.4) + rng.uniform(0.1, 0.8)
        ),
    }
    if kind in curls:
        curl = curls[kind]()
    elif kind == "point":
        curl = np.append(rng.normal(0.03, 0.05), rng.uniform(0.7, 0.97) + rng.normal(0, 0.05, 3))
    elif kind == "count":
        straight = rng.random(4) < 0.5
        curl = np.where(straight, rng.normal(0.03, 0.04, 4), rng.normal(0.88, 0.08, 4))
    else:
        curl = rng.beta(0.8, 1.1, 4)
    fingers = _finger_angles(kind, np.asarray(curl).clip(-0.1, 1.05), rng)
    return np.concatenate([_thumb_angles(kind, float(np.mean(curl)), rng)[None], fingers])


def _finger_angles(kind: str, curl: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Curl 0 to 1 of each finger as angles: joints bend together, each a little differently."""
    balance = rng.normal(0, 0.22) + rng.normal(0, 0.06, 4)  # claw (knuckles straight) against table top (knuckles bent)
    wild = 1.0 if kind == "random" else 0.25
    mcp = 82 * curl * curl.clip(0.02, None) ** (0.3 * rng.random()) * (1 + balance) + rng.normal(0, 7 * wild, 4)
    pip = 100 * curl * (1 - 0.8 * balance) + rng.normal(0, 9 * wild, 4)
    dip = 0.62 * pip + rng.normal(-3, 7, 4)  # the tendon bends both joints
    opening = {"spread": rng.uniform(0.6, 1.1), "fist": 0.05}.get(kind, rng.normal(0.25, 0.35))
    spread = opening * np.array([12, 2, -7, -15]) * (1 - 0.8 * curl.clip(0, 1)) + rng.normal(0, 2.5, 4)
    out = np.zeros((4, 5))
    for column, (name, values) in enumerate({"mcp": mcp, "spread": spread, "pip": pip, "dip": dip}.items()):
        out[:, column] = values.clip(*LIMITS[name])
    out[:, 0] = np.maximum(out[:, 0], np.roll(out[:, 0], 1) - 60)  # neighbours follow each other
    return out


def _thumb_angles(kind: str, curl: float, rng: np.random.Generator) -> np.ndarray:
    mean, spread = {
        "fist": ([20, 2, 20, 32, 38], [8, 8, 8, 10, 16]),
        "spread": ([-16, -4, -2, 0, -2], [6, 8, 5, 6, 8]),
        "pinch": ([14, 8, 22, 16, 26], [12, 12, 12, 14, 18]),
        "grasp": ([6, 14, 18, 12, 18], [10, 9, 10, 10, 14]),
        "relaxed": ([0, 2, 6, 8, 10], [7, 7, 6, 7, 9]),
    }.get(kind, ([3, 0, 8, 14, 18], [15, 12, 12, 16, 24]))
    if kind in ("count", "point") and rng.random() < 0.6:  # the thumb lies over the bent fingers
        mean = [round(24 * curl + 4), 4, 22, 34, 36]
    angles = rng.normal(mean, spread)
    return np.array([np.clip(value, *limit) for value, limit in zip(angles, THUMB_LIMITS.values(), strict=True)])


def _to_joints(degrees: np.ndarray) -> np.ndarray:
    """[N, 15, 3] axis-angles of angles [N, 5, 5] as `_angles` has them."""
    axes, angles = joint_axes(), np.radians(degrees)
    out = np.zeros((len(degrees), 15, 3))

    def about(axis: np.ndarray, angle: np.ndarray) -> Rotation:
        return Rotation.from_rotvec(angle[:, None] * axis)

    for row, name in enumerate(("thumb", *FINGERS)):
        root = FINGER_ROOTS[name] - 1
        flex, spread = axes.flex[root], axes.spread[root]
        if name == "thumb":
            twist = about(np.cross(flex, spread), angles[:, 0, 2])
            turn = about(flex, angles[:, 0, 0]) * about(spread, angles[:, 0, 1]) * twist
            bends = angles[:, 0, 3:5]
        else:
            turn = about(spread, angles[:, row, 1]) * about(flex, angles[:, row, 0] - axes.rest[root])
            bends = angles[:, row, 2:4]
        out[:, root] = turn.as_rotvec()
        for step in (1, 2):
            out[:, root + step] = (bends[:, step - 1] - axes.rest[root + step])[:, None] * axes.flex[root + step]
    return out


@cache
def joint_axes() -> Axes:
    """Axes from the packaged hand at rest: fingers towards -x, thumb towards +z, palm towards -y."""
    model = hand_model()
    joints, tips = model.rest_joints, model.rest_tips
    flex, spread, rest = np.zeros((15, 3)), np.zeros((15, 3)), np.zeros(15)
    for number, (name, root) in enumerate(FINGER_ROOTS.items()):
        chain = np.concatenate([joints[root : root + 3], tips[number : number + 1]])
        bones = np.diff(chain, axis=0)
        bones /= np.linalg.norm(bones, axis=1, keepdims=True)
        if name == "thumb":
            # It bends towards the root of the little finger, across the palm.
            axis = np.cross(bones[1], joints[FINGER_ROOTS["little"]] + [0, -0.02, 0] - chain[1])
            before = np.array([bones[0], bones[0], bones[1]])
        else:
            length = chain[3] - chain[0]
            axis = np.array([0, 0, 1.0]) - length * length[2] / (length @ length)
            before = np.array([[-1, 0, 0], bones[0], bones[1]])
        axis /= np.linalg.norm(axis)
        for step in range(3):
            flex[root - 1 + step] = axis
            side = np.cross(bones[step], axis)
            spread[root - 1 + step] = -side / np.linalg.norm(side)
            flat = [vector - axis * (vector @ axis) for vector in (before[step], bones[step])]
            rest[root - 1 + step] = np.arctan2(np.cross(*flat) @ axis, flat[0] @ flat[1])
        if name == "thumb":
            rest[root - 1] = 0
    return Axes(flex, spread, rest)


def finger_chains(joints: np.ndarray, model: HandModel | None = None) -> np.ndarray:
    """[N, 5, 4, 3] places of the joints and tip of each finger, thumb first, of the average hand in poses [N, 15, 3]."""
    model = model or hand_model()
    rest = np.concatenate([model.rest_joints, model.rest_tips])
    turns = Rotation.from_rotvec(joints.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    out = np.zeros((len(joints), 5, 4, 3))
    for finger, root in enumerate(FINGER_ROOTS.values()):
        chain = np.concatenate([rest[root : root + 3], rest[16 + finger : 17 + finger]])
        total = np.broadcast_to(np.eye(3), (len(joints), 3, 3))
        out[:, finger, 0] = chain[0]
        for step in range(3):
            total = total @ turns[:, root - 1 + step]
            out[:, finger, step + 1] = out[:, finger, step] + total @ (chain[step + 1] - chain[step])
    return out


def intersection(joints: np.ndarray) -> np.ndarray:
    """[N] metres by which the fingers of poses [N, 15, 3] go through each other or the palm, summed over spheres along them."""
    chains = finger_chains(joints)
    share = np.array([0.25, 0.5, 0.75, 1.0])
    spheres = chains[:, :, :3, None] + (chains[:, :, 1:] - chains[:, :, :3])[:, :, :, None] * share[:, None]
    spheres = spheres.reshape(len(joints), 5, 12, 3)
    total = np.zeros(len(joints))
    for first in range(5):
        for second in range(first + 1, 5):
            gap = np.linalg.norm(spheres[:, first, :, None] - spheres[:, second, None], axis=-1)
            depth = (0.86 * (RADII[first] + RADII[second]) - gap)[:, 3:, 3:]  # the roots are one piece of flesh
            total += np.maximum(depth, 0).max((1, 2))
    palm = _palm()
    for finger in range(5):
        gap = np.linalg.norm(spheres[:, finger, 6:, None] - palm, axis=-1)
        total += np.maximum(0.006 + 0.8 * RADII[finger] - gap, 0).max((1, 2))
    return total


@cache
def _palm() -> np.ndarray:
    """[P, 3] middles of spheres that fill the palm."""
    rest = hand_model().rest_joints
    knuckles = rest[[1, 4, 10, 7]]
    return np.concatenate([rest[0] + (knuckles - rest[0]) * share for share in (0.35, 0.55, 0.75, 0.92)])


def pinch_gap(joints: np.ndarray) -> np.ndarray:
    """[N] metres between the tips of thumb and index finger."""
    chains = finger_chains(joints)
    return np.linalg.norm(chains[:, 0, 3] - chains[:, 1, 3], axis=-1)
