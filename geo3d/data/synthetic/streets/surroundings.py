"""What stands beside a generated street: buildings, fences, hedges, walls, trees, poles, signs and small things.

Long things lie along x, centred; their front is y = 0 and faces -y.
"""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Solid, cylinder, tube
from geo3d.data.synthetic.streets.mesh import Mesh, Surface, assembled, block, leaves

PANE = Surface(0.08, (70, 84, 96), gloss=0.9, loss=0.45)
BARK = Surface(0.3, (92, 74, 58))
STEEL = Surface(0.25, (120, 124, 126), gloss=0.2)
SIGN = Surface(2.5, (205, 60, 50))
Parts = list[tuple[Solid, Surface]]


def building(rng: np.random.Generator, length: float) -> Mesh:
    """A house: piers, recessed windows and doors on the ground floor, panes above, a roof; sometimes a bay that sticks out."""
    height, depth, recess = rng.uniform(3.5, 16), rng.uniform(6, 12), rng.uniform(0.1, 0.4)
    wall = Surface(rng.uniform(0.2, 0.5), _wall_color(rng))
    stone = Surface(rng.uniform(0.2, 0.4), _wall_color(rng))
    back = depth - recess
    parts: Parts = [(block((length, back, height), (0, recess + back / 2, height / 2)), wall)]
    storey = rng.uniform(2.9, 3.6)
    x = -length / 2
    while x < length / 2 - 0.3:
        pier = min(rng.uniform(0.5, 2.2), length / 2 - x)
        parts.append((block((pier, recess, height), (x + pier / 2, recess / 2, height / 2)), wall))
        x += pier
        opening = min(rng.uniform(0.9, 2.6), length / 2 - x)
        if opening < 0.5:
            parts.append((block((opening, recess, height), (x + opening / 2, recess / 2, height / 2)), wall))
        else:
            parts += _opening(rng, x + opening / 2, opening, recess, storey, height, wall, stone)
        x += opening
    if rng.random() < 0.35 and length > 6:
        wide, out = rng.uniform(1.5, 4), rng.uniform(0.3, 1.5)
        parts.append(
            (block((wide, out, height * rng.uniform(0.4, 1)), (rng.uniform(-0.3, 0.3) * length, -out / 2, height * 0.3)), stone)
        )
    ridge = height + rng.uniform(1.5, 4)
    roof = np.array([[x, y, z] for x in (-0.5, 0.5) for y, z in ((-0.3, height), (depth / 2, ridge), (depth + 0.3, height))])
    roof[:, 0] *= length
    sheets = np.array([[0, 3, 1], [1, 3, 4], [1, 4, 2], [2, 4, 5], [0, 1, 2], [3, 5, 4]])
    parts.append((Solid(roof, sheets), Surface(0.2, (120, 70, 56))))
    return assembled(parts)


def _opening(
    rng: np.random.Generator, x: float, wide: float, recess: float, storey: float, height: float, wall: Surface, stone: Surface
) -> Parts:
    """A window, door or gate, the wall above it, and panes of the upper storeys."""
    door = rng.random() < 0.25
    sill, top = (0.0, rng.uniform(2.0, 2.5)) if door else (rng.uniform(0.4, 1.2), rng.uniform(2.1, 2.7))
    face = PANE if not door or rng.random() < 0.3 else stone
    parts: Parts = [(block((wide, 0.02, top - sill), (x, recess - 0.012, (top + sill) / 2)), face)]
    if sill > 0:
        parts.append((block((wide, recess, sill), (x, recess / 2, sill / 2)), wall))
        parts.append((block((wide + 0.1, 0.12, 0.06), (x, -0.05, sill)), stone))
    parts.append((block((wide, recess, height - top), (x, recess / 2, (height + top) / 2)), wall))
    for floor in range(1, int(height / storey)):
        parts.append((block((wide, 0.02, 1.3), (x, -0.012, floor * storey + 1.5)), PANE))
    return parts


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """Posts, rails and slats, with gaps to look through."""
    height, pitch = rng.uniform(0.8, 1.6), rng.uniform(0.12, 0.28)
    surface = Surface(rng.uniform(0.15, 0.45), _wall_color(rng))
    slat = pitch * rng.uniform(0.2, 0.7)
    parts: Parts = [(block((length, 0.04, 0.06), (0, 0.03, height * share)), surface) for share in (0.25, 0.8)]
    parts += [(block((slat, 0.02, height), (x, 0, height / 2)), surface) for x in np.arange(-length / 2, length / 2, pitch)]
    parts += [
        (block((0.1, 0.1, height + 0.1), (x, 0.06, height / 2)), surface) for x in np.arange(-length / 2, length / 2, 2.4)
    ]
    return assembled(parts)


def wall(rng: np.random.Generator, length: float) -> Mesh:
    """A garden wall."""
    height = rng.uniform(0.4, 2.0)
    return assembled(
        [(block((length, 0.25, height), (0, 0.12, height / 2)), Surface(rng.uniform(0.2, 0.45), _wall_color(rng)))]
    )


def hedge(rng: np.random.Generator, length: float) -> Mesh:
    """A dense core with leaves around it."""
    height, depth = rng.uniform(0.7, 2.2), rng.uniform(0.5, 1.1)
    green = _leaf_surface(rng)
    low, high = np.array([-length / 2, 0, 0.05]), np.array([length / 2, depth, height])
    centers = rng.uniform(low, high, (int(length * height * 28), 3))
    core = block((length - 0.2, depth * 0.6, height * 0.9), (0, depth / 2, height * 0.45))
    return assembled([(core, green), (leaves(centers, 0.14, rng), green)])


def tree(rng: np.random.Generator) -> Mesh:
    """Trunk, branches and a porous crown above 2 m."""
    height, radius, wide = rng.uniform(4.5, 11), rng.uniform(0.08, 0.25), rng.uniform(1.4, 3.2)
    parts, top = _stem(rng, height, radius)
    for _ in range(rng.integers(2, 6)):
        turn, start = rng.uniform(0, 2 * np.pi), top * rng.uniform(0.4, 0.7)
        end = start + [wide * 0.7 * np.cos(turn), wide * 0.7 * np.sin(turn), rng.uniform(0.5, 1.5)]
        parts.append((cylinder(start, end, radius * 0.4, radius * 0.15, sides=5), BARK))
    share = rng.uniform(0, 1, rng.integers(600, 1000))
    return assembled([*parts, _crown(rng, share, np.sqrt(1 - (2 * share - 1) ** 2) * wide, rng.uniform(2.1, 3.2), height)])


def conifer(rng: np.random.Generator) -> Mesh:
    """A tree whose crown is a cone that starts near the ground."""
    height = rng.uniform(3, 9)
    parts, _ = _stem(rng, height, rng.uniform(0.08, 0.2))
    share = rng.uniform(0, 1, rng.integers(600, 1000)) ** 1.6
    return assembled([*parts, _crown(rng, share, (1 - share) * rng.uniform(0.8, 1.5), rng.uniform(0.2, 0.8), height)])


def _stem(rng: np.random.Generator, height: float, radius: float) -> tuple[Parts, np.ndarray]:
    top = np.array([*rng.normal(0, 0.03, 2) * height, height * 0.8])
    stem = tube(np.linspace([0, 0, -0.1], top, 4), np.linspace(radius * 1.15, radius * 0.3, 4), 9)
    return [(stem, BARK)], top


def _crown(rng: np.random.Generator, share: np.ndarray, reach: np.ndarray, low: float, high: float) -> tuple[Solid, Surface]:
    """Leaves at shares [N] of the height between low and high, within a reach [N] of the axis."""
    turn, out = rng.uniform(0, 2 * np.pi, len(share)), np.sqrt(rng.uniform(0.1, 1, len(share))) * reach
    centers = np.stack([out * np.cos(turn), out * np.sin(turn), low + share * (high - low)], 1)
    return leaves(centers, rng.uniform(0.16, 0.28), rng), _leaf_surface(rng)


def bush(rng: np.random.Generator) -> Mesh:
    """A round heap of leaves."""
    radii = rng.uniform((0.3, 0.3, 0.4), (1.0, 1.0, 1.1))
    inside = rng.normal(size=(int(120 * radii[0] * radii[1] + 60), 3))
    inside /= np.linalg.norm(inside, axis=1, keepdims=True)
    centers = inside * radii * rng.uniform(0.4, 1, (len(inside), 1)) ** (1 / 3) + [0, 0, radii[2] * 0.9]
    centers[:, 2] = np.maximum(centers[:, 2], 0.05)
    return assembled([(leaves(centers, 0.16, rng), _leaf_surface(rng))])


def pole(rng: np.random.Generator) -> Mesh:
    """A lamp post, a traffic sign, a traffic light or a plain post."""
    kind = rng.choice(["lamp", "sign", "light", "post"], p=[0.35, 0.4, 0.1, 0.15])
    height = {"lamp": rng.uniform(4, 8), "sign": rng.uniform(2.2, 3.0), "light": 3.3, "post": rng.uniform(0.8, 1.2)}[str(kind)]
    radius = rng.uniform(0.06, 0.1) if kind in ("lamp", "light") else rng.uniform(0.03, 0.07)
    parts: Parts = [(cylinder((0, 0, -0.1), (0, 0, height), radius, radius * 0.8, sides=9), STEEL)]
    if kind == "sign":
        wide = rng.uniform(0.4, 0.9)
        parts.append((block((0.02, wide, rng.uniform(0.4, 0.8)), (-radius - 0.02, 0, height - 0.35)), SIGN))
    if kind == "light":
        parts.append((block((0.2, 0.3, 0.9), (-0.15, 0, height - 0.5)), Surface(0.1, (35, 40, 36))))
    if kind == "lamp":
        parts.append((block((0.25, 1.4, 0.12), (0, -0.6, height)), STEEL))
    return assembled(parts)


def clutter(rng: np.random.Generator) -> Mesh:
    """A bin, a cabinet, a hydrant, a pallet of boxes or a bench."""
    kind = rng.choice(["bin", "cabinet", "hydrant", "boxes", "bench"])
    surface = Surface(rng.uniform(0.1, 0.5), _wall_color(rng))
    if kind == "bin":
        height = rng.uniform(0.8, 1.2)
        return assembled([(cylinder((0, 0, 0), (0, 0, height), rng.uniform(0.2, 0.3), sides=12), surface)])
    if kind == "cabinet":
        size = rng.uniform((0.3, 0.6, 0.9), (0.5, 1.4, 1.5))
        return assembled([(block(size, (0, 0, size[2] / 2)), surface)])
    if kind == "hydrant":
        return assembled([(cylinder((0, 0, 0), (0, 0, 0.75), 0.11, sides=10), surface)])
    if kind == "boxes":
        sizes = rng.uniform(0.3, 0.8, (3, 3))
        return assembled([(block(size, (*rng.uniform(-0.3, 0.3, 2), size[2] / 2)), surface) for size in sizes])
    return bench(rng)


def bench(rng: np.random.Generator) -> Mesh:
    """A bench along x, its seat 0.45 m high, its back behind y = 0.25."""
    surface = Surface(rng.uniform(0.2, 0.4), (120, 88, 60))
    legs: Parts = [(block((0.08, 0.4, 0.45), (x, 0, 0.22)), STEEL) for x in (-0.7, 0.7)]
    return assembled(
        [(block((1.6, 0.42, 0.05), (0, 0, 0.45)), surface), (block((1.6, 0.05, 0.35), (0, 0.25, 0.75)), surface), *legs]
    )


def _leaf_surface(rng: np.random.Generator) -> Surface:
    green = rng.integers(80, 130)
    return Surface(rng.uniform(0.25, 0.45), (int(green * rng.uniform(0.55, 0.9)), int(green), int(green * 0.45)), loss=0.1)


def _wall_color(rng: np.random.Generator) -> tuple[int, int, int]:
    gray = rng.uniform(90, 215)
    red, green, blue = np.clip(gray * rng.normal([1.05, 1.0, 0.92], 0.06), 20, 245).astype(int).tolist()
    return red, green, blue
