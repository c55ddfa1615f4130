"""People of simple solids in varied poses, as (part, solid) pairs, y up, facing +z."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Pieces, Solid, rotation, superellipsoid, tube

POSES = ("stand", "walk", "sit", "t", "raise", "wave", "hips")


def person(rng: np.random.Generator) -> Pieces:
    """A person of random build: standing, walking, sitting, arms spread, raised, waving or on the hips."""
    pose = rng.choice(POSES)
    build, shoulder = rng.uniform(0.85, 1.3), rng.uniform(0.17, 0.22)
    hip_y, trunk = rng.uniform(0.84, 0.98), rng.uniform(0.48, 0.58)
    neck_y = hip_y + trunk
    lean = rotation(0, rng.uniform(-0.05, 0.2))
    hips = np.array([0, hip_y, 0])

    def up(points: object) -> np.ndarray:
        return (np.asarray(points, dtype=float) - hips) @ lean.T + hips

    pieces: Pieces = [("torso", solid) for solid in _torso(rng, hips, trunk, shoulder, build, lean)]
    head = up([0, neck_y + 0.17, 0.01])
    pieces.append(("head", superellipsoid((0.075, 0.115, 0.095), head, rng.uniform(0.8, 1.0))))
    pieces.append(("head", tube(np.array([up([0, neck_y - 0.04, 0]), up([0, neck_y + 0.1, 0])]), 0.05)))
    if rng.random() < 0.4:
        pieces.append(("head", superellipsoid((0.09, 0.09, 0.11), head + [0, 0.05, -0.015], rng.uniform(0.6, 1.0))))
    for side in (-1, 1):
        pieces += _leg(rng, pose, side, hips, build)
        pieces += _arm(rng, pose, side, up([side * shoulder, neck_y - 0.05, 0]), build)
    return pieces


def _torso(
    rng: np.random.Generator, hips: np.ndarray, trunk: float, shoulder: float, build: float, lean: np.ndarray
) -> list[Solid]:
    depth = 0.1 * build
    chest = superellipsoid((shoulder * 0.98, trunk * 0.42, depth), (0, trunk * 0.62, 0), 0.75, 0.8)
    belly = superellipsoid(
        (shoulder * 0.8 * build**0.5, trunk * 0.45, depth * rng.uniform(0.9, 1.2)), (0, trunk * 0.25, 0), 0.8, 0.9
    )
    pelvis = superellipsoid((shoulder * 0.85, 0.12, depth), (0, 0.0, 0), 0.8, 0.9)
    solids = [solid.moved(lean, hips) for solid in (chest, belly, pelvis)]
    if rng.random() < 0.15:
        skirt = superellipsoid((shoulder * 1.1, 0.28, depth * 1.6), hips + [0, -0.22, 0], 0.5)
        solids.append(skirt)
    return solids


def _leg(rng: np.random.Generator, pose: str, side: int, hips: np.ndarray, build: float) -> Pieces:
    thigh, shin = hips[1] * 0.47, hips[1] * 0.46
    swing = {"walk": side * rng.uniform(0.25, 0.6), "sit": rng.uniform(1.3, 1.6)}.get(pose, rng.uniform(-0.1, 0.12))
    knee = {"walk": rng.uniform(0.0, 0.7), "sit": rng.uniform(1.3, 1.7)}.get(pose, rng.uniform(0, 0.12))
    spread = rng.uniform(0.0, 0.15)
    top = hips + [side * 0.085, -0.02, 0]
    bend = top + thigh * np.array([side * np.sin(spread), -np.cos(swing), np.sin(swing)])
    low = swing - knee
    ankle = bend + shin * np.array([side * np.sin(spread) * 0.3, -np.cos(low), np.sin(low)])
    turn = rotation(0, -low)
    foot = superellipsoid((0.042, 0.035, 0.12), (0, -0.03, 0.06), 0.6, 0.7).moved(turn, ankle)
    widths = np.array([0.088, 0.075, 0.055, 0.05, 0.038]) * build**0.6
    path = np.array([top, (top + bend) / 2, bend, bend * 0.6 + ankle * 0.4, ankle])
    return [("leg", tube(path, widths)), ("leg", foot)]


def _arm(rng: np.random.Generator, pose: str, side: int, shoulder: np.ndarray, build: float) -> Pieces:
    raise_by = {"t": np.pi / 2, "raise": rng.uniform(2.4, 2.9), "hips": 0.75}.get(pose, rng.uniform(0.05, 0.4))
    if pose == "wave" and side == 1:
        raise_by = rng.uniform(1.6, 2.6)
    swing = {"walk": -side * rng.uniform(0.2, 0.6), "sit": rng.uniform(0.2, 0.8)}.get(pose, rng.uniform(-0.15, 0.2))
    upper = np.array([side * np.sin(raise_by), -np.cos(raise_by) * np.cos(swing), np.sin(swing)])
    upper /= np.linalg.norm(upper)
    elbow = shoulder + 0.28 * upper
    if pose == "hips":
        lower = np.array([-side * 0.7, -0.6, 0.25])
    elif pose == "wave" and side == 1:
        lower = np.array([side * rng.uniform(-0.3, 0.4), 1.0, 0.1])
    else:
        lower = upper + [0, 0, rng.uniform(0.05, 0.8) if pose != "t" else 0.05]
    lower = lower / np.linalg.norm(lower)
    wrist = elbow + 0.25 * lower
    widths = np.array([0.052, 0.045, 0.038, 0.03]) * build**0.6
    limb = tube(np.array([shoulder, (shoulder + elbow) / 2, elbow, wrist]), widths)
    hand = superellipsoid((0.03, 0.045, 0.03), wrist + 0.06 * lower, 0.8)
    return [("arm", limb), ("arm", hand)]
