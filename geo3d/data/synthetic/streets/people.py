"""People of generated streets: walking, standing, sitting, and riding bicycles. They face +x and stand on z = 0."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Solid, tube
from geo3d.data.synthetic.streets.mesh import Mesh, Surface, assembled, blob, block, limb

SKIN = Surface(0.4, (205, 160, 135))
METAL = Surface(0.2, (70, 72, 78), gloss=0.4)
RUBBER = Surface(0.06, (30, 30, 30))
CAT_EYE = Surface(1.6, (190, 30, 30))
Parts = list[tuple[Solid, Surface]]


def pedestrian(rng: np.random.Generator) -> Mesh:
    """A standing or walking person between 1.1 and 2.0 m tall."""
    grown = rng.random() < 0.85
    height = float(np.clip(rng.normal(1.74, 0.09), 1.5, 2.0)) if grown else rng.uniform(1.1, 1.5)
    walking = rng.random() < 0.75
    phase = rng.uniform(0, 2 * np.pi)
    stride = rng.uniform(0.3, 0.55) if walking else rng.uniform(0, 0.08)
    swings = {side: side * stride * np.sin(phase) for side in (-1, 1)}
    knees = {side: 0.1 + (0.7 * max(0.0, side * np.cos(phase)) if walking else 0.0) for side in (-1, 1)}
    lean = rng.uniform(0, 0.12)
    hips = np.array([0, 0, 0.52])
    parts, neck = _upper_body(rng, hips, lean, {side: -swings[side] * rng.uniform(0.6, 1.1) for side in (-1, 1)})
    parts += _clothes(rng, hips, neck)
    trousers = _cloth(rng)
    for side in (-1, 1):
        parts += _leg(hips, side, swings[side], knees[side], trousers)
    mesh = assembled(parts)
    girth = rng.uniform(0.92, 1.25) if grown else rng.uniform(0.85, 1.0)
    scale = height / mesh.size[2]
    return mesh.fitted(mesh.size * [scale, scale * girth, scale])


def sitting_person(rng: np.random.Generator) -> Mesh:
    """A person who sits on something 0.35 to 0.5 m high."""
    hips = np.array([0, 0, 0.3])
    parts, neck = _upper_body(rng, hips, rng.uniform(-0.1, 0.2), {side: rng.uniform(0.2, 0.7) for side in (-1, 1)})
    parts += _clothes(rng, hips, neck)
    trousers = _cloth(rng)
    for side in (-1, 1):
        parts += _leg(hips, side, rng.uniform(1.35, 1.55), rng.uniform(1.2, 1.6), trousers)
    mesh = assembled(parts)
    return mesh.fitted(mesh.size * rng.uniform(1.5, 1.85))


def cyclist(rng: np.random.Generator) -> Mesh:
    """A bicycle with its rider."""
    parts = _bicycle(rng)
    saddle, handlebar, crank = np.array([-0.2, 0, 0.98]), np.array([0.42, 0, 1.0 + rng.uniform(0, 0.12)]), np.array([0, 0, 0.3])
    scale = rng.uniform(1.55, 1.85)  # of the rider, whose measures are shares of the height
    hips = saddle / scale
    parts_rider, _ = _upper_body(rng, hips, rng.uniform(0.15, 0.6), {}, reach=handlebar / scale)
    trousers = _cloth(rng)
    phase = rng.uniform(0, 2 * np.pi)
    for side in (-1, 1):
        turn = phase + (np.pi if side > 0 else 0)
        pedal = crank + [0.17 * np.cos(turn), side * 0.11, 0.17 * np.sin(turn)]
        parts_rider += _leg_to(hips, side, (pedal + [0, 0, 0.08]) / scale, trousers)
    parts += [(Solid(solid.vertices * scale, solid.faces), surface) for solid, surface in parts_rider]
    mesh = assembled(parts)
    return mesh.fitted(mesh.size * rng.uniform(0.95, 1.04))


def parked_bicycle(rng: np.random.Generator) -> Mesh:
    """A bicycle without a rider; no object of the labels."""
    mesh = assembled(_bicycle(rng))
    return mesh.fitted(mesh.size)


def _cloth(rng: np.random.Generator) -> Surface:
    gray = rng.uniform(25, 215)
    red, green, blue = np.clip(gray + rng.normal(0, 28, 3), 10, 245).astype(int).tolist()
    return Surface(float(rng.beta(3, 4)) * 0.75 + 0.05, (red, green, blue))


def _upper_body(
    rng: np.random.Generator, hips: np.ndarray, lean: float, swings: dict[int, float], reach: np.ndarray | None = None
) -> tuple[Parts, np.ndarray]:
    """Torso, head and arms in shares of the body's height, and the neck. `reach` is where the hands are, else arms hang."""
    up = np.array([np.sin(lean), 0, np.cos(lean)])
    neck = hips + 0.3 * up
    head = neck + 0.1 * np.array([np.sin(lean / 2), 0, np.cos(lean / 2)])
    cloth, hair = _cloth(rng), Surface(rng.uniform(0.1, 0.4), tuple(int(c) for c in rng.integers(20, 150, 3)))  # type: ignore[arg-type]
    trunk = tube(
        np.stack([hips - 0.03 * up, hips, hips + 0.1 * up, hips + 0.22 * up, neck]), [0.06, 0.088, 0.08, 0.1, 0.04], 10
    )
    wide = trunk.vertices * [1, 1.28, 1]
    parts: Parts = [(Solid(wide, trunk.faces), cloth), (limb([neck, head], [0.032, 0.03], 6), SKIN)]
    parts += [
        (blob((0.055, 0.045, 0.066), head, 6, 10), SKIN),
        (blob((0.056, 0.05, 0.05), head + [-0.012, 0, 0.02], 5, 8), hair),
    ]
    for side in (-1, 1):
        shoulder = neck + [0, side * 0.115, 0] - 0.02 * up
        if reach is not None:
            hand = reach + [0, side * 0.14, 0]
            elbow = (shoulder + hand) / 2 + [-0.02, side * 0.05, -0.05]
        else:
            swing = swings[side]
            elbow = shoulder + 0.17 * np.array([np.sin(swing), side * 0.15, -np.cos(swing)])
            bent = swing + rng.uniform(0.1, 0.9)
            hand = elbow + 0.16 * np.array([np.sin(bent), side * 0.02, -np.cos(bent)])
        parts += [(limb([shoulder, elbow, hand], [0.03, 0.026, 0.019], 7), cloth), (blob((0.022,) * 3, hand, 4, 6), SKIN)]
    return parts, neck


def _clothes(rng: np.random.Generator, hips: np.ndarray, neck: np.ndarray) -> Parts:
    """Sometimes a backpack, a bag, a coat or a hat."""
    parts: Parts = []
    if rng.random() < 0.2:
        parts.append((block((0.09, 0.16, 0.22), neck + [-0.13, 0, -0.12]), _cloth(rng)))
    if rng.random() < 0.2:
        side = rng.choice([-1, 1])
        parts.append((block((0.18, 0.06, 0.15), hips + [0, side * 0.19, -0.06]), _cloth(rng)))
    if rng.random() < 0.2 and hips[2] > 0.4:
        low = rng.uniform(0.15, 0.35)
        coat = tube(np.stack([hips + [0, 0, 0.08], hips - [0, 0, low]]), np.array([0.09, rng.uniform(0.1, 0.15)]), 10)
        parts.append((Solid(coat.vertices * [1, 1.2, 1], coat.faces), _cloth(rng)))
    if rng.random() < 0.15:
        parts.append((blob((0.075, 0.07, 0.045), neck + [0, 0, 0.15], 5, 9), _cloth(rng)))
    return parts


def _leg(hips: np.ndarray, side: int, swing: float, bend: float, cloth: Surface) -> Parts:
    top = hips + [0, side * 0.05, 0]
    knee = top + 0.245 * np.array([np.sin(swing), side * 0.04, -np.cos(swing)])
    lower = swing - bend
    ankle = knee + 0.235 * np.array([np.sin(lower), 0, -np.cos(lower)])
    return _leg_parts(top, knee, ankle, cloth)


def _leg_to(hips: np.ndarray, side: int, ankle: np.ndarray, cloth: Surface) -> Parts:
    """A leg whose ankle is given; the knee lies ahead."""
    top = hips + [0, side * 0.05, 0]
    span = ankle - top
    distance = min(float(np.linalg.norm(span)), 0.478)
    ahead = np.cross([0, 1, 0], span / np.linalg.norm(span))
    ahead *= -1 if ahead[0] < 0 else 1
    knee = top + span / 2 + ahead * np.sqrt(max(0.24**2 - distance**2 / 4, 1e-4))
    return _leg_parts(top, knee, ankle, cloth)


def _leg_parts(top: np.ndarray, knee: np.ndarray, ankle: np.ndarray, cloth: Surface) -> Parts:
    foot = ankle + [0.04, 0, -0.02]
    return [(limb([top, knee, ankle], [0.055, 0.038, 0.028], 8), cloth), (blob((0.075, 0.026, 0.025), foot, 5, 8), RUBBER)]


def _bicycle(rng: np.random.Generator) -> Parts:
    radius, base = rng.uniform(0.31, 0.36), rng.uniform(0.5, 0.56)
    paint = Surface(rng.uniform(0.08, 0.4), tuple(int(c) for c in rng.integers(20, 230, 3)), gloss=0.3)  # type: ignore[arg-type]
    turns = np.linspace(0, 2 * np.pi, 21)
    parts: Parts = []
    for x in (-base, base):
        ring = np.stack([x + radius * np.cos(turns), 0 * turns, radius + radius * np.sin(turns)], 1)
        parts.append((tube(ring, 0.02, 6), RUBBER))
        parts += [
            (tube(np.array([[x, 0, radius], [x + radius * np.cos(a), 0, radius + radius * np.sin(a)]]), 0.006, 3), METAL)
            for a in turns[:-1:4]
        ]
    crank, saddle, head = np.array([0, 0, 0.3]), np.array([-0.2, 0, 0.92]), np.array([0.38, 0, 0.9])
    rear, front = np.array([-base, 0, radius]), np.array([base, 0, radius])
    frame = [(crank, saddle), (crank, head), (saddle * [1, 1, 0.9], head), (rear, crank), (rear, saddle * [1, 1, 0.85])]
    frame += [(head + [0, 0, 0.12], front), (head + [0.02, -0.28, 0.12], head + [0.02, 0.28, 0.12])]
    parts += [(tube(np.stack(pair), 0.018, 6), paint) for pair in frame]
    parts.append((block((0.25, 0.14, 0.06), saddle + [0, 0, 0.03]), RUBBER))
    parts.append((block((0.03, 0.06, 0.05), (-0.24, 0, 0.86)), CAT_EYE))
    if rng.random() < 0.4:
        parts.append((block((0.36, 0.26, 0.25), (-base + 0.05, 0, 0.85)), METAL))
    return parts
