"""Chairs. Each function draws one as (part, solid) pairs, y up, front towards +z."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.shapes.primitives import (
    Pieces,
    Solid,
    box,
    cylinder,
    ellipse,
    lathe,
    prism,
    rotation,
    rounded_path,
    superellipsoid,
    tube,
)


def chair(rng: np.random.Generator, side_rails: bool = False) -> Pieces:
    """Four-legged (with rails across, too, where `side_rails` says so), sled, cantilever, pedestal and swivel chairs, armchairs."""
    width, depth = rng.uniform(0.38, 0.62), rng.uniform(0.38, 0.6)
    height, thick = rng.uniform(0.36, 0.52), rng.uniform(0.02, 0.13)
    seat_shape = rng.choice(["box", "round", "cushion"], p=[0.5, 0.2, 0.3])
    pieces: Pieces = [("seat", _slab(seat_shape, width, depth, thick, height))]
    back_height = rng.uniform(0.3, 0.75)
    pieces += _chair_back(rng, width, depth, height + thick / 2, back_height)
    style = rng.choice(["legs", "sled", "cantilever", "pedestal", "swivel", "block"], p=[0.42, 0.12, 0.1, 0.1, 0.16, 0.1])
    pieces += _chair_base(rng, style, width, depth, height - thick / 2, side_rails)
    if rng.random() < 0.45:
        pieces += _chair_arms(rng, width, depth, height)
    return pieces


def chair_of_any_style(rng: np.random.Generator) -> Pieces:
    """`chair`, folding and upholstered chairs."""
    style = str(rng.choice(["usual", "folding", "upholstered"], p=[0.76, 0.13, 0.11]))
    if style == "usual":
        return chair(rng, side_rails=True)
    return _folding_chair(rng) if style == "folding" else _upholstered_chair(rng)


def _folding_chair(rng: np.random.Generator) -> Pieces:
    """Front legs that run up into the back, rear legs that cross them under the seat."""
    x, seat_y, top = rng.uniform(0.19, 0.25), rng.uniform(0.4, 0.48), rng.uniform(0.74, 0.95)
    radius, lean = rng.uniform(0.009, 0.018), rng.uniform(0.3, 0.6)
    depth, thick = rng.uniform(0.34, 0.44), rng.uniform(0.012, 0.05)
    front_z = rng.uniform(0.12, 0.24)
    narrow = rng.uniform(0.75, 0.95)

    def front(y: float) -> np.ndarray:
        return np.array([x, y, front_z - lean * y])

    top_bend = front(top) - [0, 0, 0.02]
    pieces: Pieces = []
    rear_foot, rear_top = np.array([x * narrow, 0, front_z - lean * seat_y - 0.28]), np.array([x * narrow, seat_y, front_z])
    for side in (-1, 1):
        flip = np.array([side, 1, 1])
        pieces.append(("leg", cylinder(front(0) * flip, front(seat_y) * flip, radius)))
        pieces.append(("back", cylinder(front(seat_y) * flip, top_bend * flip, radius)))
        pieces.append(("leg", cylinder(rear_foot * flip, rear_top * flip, radius)))
    for share in rng.uniform(0.1, 0.5, rng.integers(1, 3)):
        bar = front(share * seat_y)
        pieces.append(("leg", cylinder(bar, bar * [-1, 1, 1], radius * 0.8)))
        bar = rear_foot + (rear_top - rear_foot) * share
        pieces.append(("leg", cylinder(bar, bar * [-1, 1, 1], radius * 0.8)))
    middle = front(seat_y)[2] + depth * rng.uniform(0.2, 0.4)
    shape = str(rng.choice(["box", "cushion"]))
    pieces.append(("seat", _slab(shape, 2 * x * rng.uniform(0.9, 1.05), depth, thick, seat_y).moved(offset=(0, 0, middle))))
    tall = rng.uniform(0.12, 0.3)
    panel = np.array([2 * x * rng.uniform(0.95, 1.15), tall, rng.uniform(0.012, 0.05)])
    turn, at = rotation(0, -np.arctan(lean)), front(top - tall / 2) * [0, 1, 1]
    is_soft = rng.random() < 0.6
    back = superellipsoid(panel / 2, vertical=0.4, horizontal=0.3) if is_soft else box(panel)
    return [*pieces, ("back", back.moved(turn, at))]


def _upholstered_chair(rng: np.random.Generator) -> Pieces:
    """A thick seat between thick arms, a high or low back, short legs or none."""
    width, depth, low = rng.uniform(0.5, 0.75), rng.uniform(0.5, 0.75), rng.uniform(0.0, 0.2)
    seat_tall, soft = rng.uniform(0.18, 0.36), rng.uniform(0.1, 0.6)
    top = low + seat_tall

    def block(size: tuple[float, float, float], center: tuple[float, float, float]) -> Solid:
        return superellipsoid(np.asarray(size) / 2, center, soft, soft) if soft > 0.2 else box(size, center)

    pieces: Pieces = [("seat", block((width, seat_tall, depth), (0, low + seat_tall / 2, 0)))]
    back = (width * rng.uniform(0.9, 1.05), rng.uniform(0.35, 0.75), rng.uniform(0.08, 0.2))
    lean = rotation(0, -rng.uniform(0, 0.35))
    pieces.append(("back", block(back, (0, back[1] / 2, 0)).moved(lean, (0, top - 0.05, -depth / 2 + back[2] / 2))))
    if rng.random() < 0.75:
        arm, rise = rng.uniform(0.06, 0.18), rng.uniform(0.1, 0.25)
        for side in (-1, 1):
            x = side * (width + arm) / 2
            pieces.append(("arm", block((arm, seat_tall + rise, depth), (x, low + (seat_tall + rise) / 2, 0))))
    foot = rng.uniform(0.6, 1.0)
    for a in (-1, 1):
        for b in (-1, 1):
            at = np.array([a * width * 0.42, low + 0.03, b * depth * 0.42])
            pieces.append(("leg", cylinder(at * [1, 0, 1], at, 0.025 * foot, 0.025)))
    return pieces


def _slab(shape: str, width: float, depth: float, thick: float, height: float) -> Solid:
    if shape == "round":
        return prism(ellipse(width / 2, depth / 2), thick, (0, height, 0))
    if shape == "cushion":
        return superellipsoid((width / 2, thick / 2, depth / 2), (0, height, 0), 0.5, 0.3)
    return box((width, thick, depth), (0, height, 0))


def _chair_back(rng: np.random.Generator, width: float, depth: float, base: float, tall: float) -> Pieces:
    lean = rotation(0, -rng.uniform(0.0, 0.35))
    at = (0.0, base, -depth / 2 + 0.02)
    thick = rng.uniform(0.015, 0.1)
    style = rng.choice(["panel", "slats", "ladder", "rounded", "oval", "curved"], p=[0.3, 0.16, 0.14, 0.18, 0.1, 0.12])
    wide = width * rng.uniform(0.75, 1.0)
    if style == "panel":
        solids = [box((wide, tall, thick), (0, tall / 2, 0), rng.uniform(0.75, 1.05))]
    elif style == "rounded":
        solids = [superellipsoid((wide / 2, tall / 2, thick / 2 + 0.015), (0, tall / 2, 0), 0.45, 0.4)]
    elif style == "oval":
        panel = prism(ellipse(wide / 2, tall / 2 * 0.8), thick).moved(rotation(0, np.pi / 2), (0, tall * 0.6, 0))
        solids = [panel, cylinder((0, 0, 0), (0, tall * 0.3, 0), 0.03)]
    elif style == "curved":
        bend = rng.uniform(0.06, 0.2)
        columns = np.linspace(-1, 1, 9)
        solids = [
            box((wide / 8, tall, thick), (x * wide / 2, tall / 2, bend * x * x)).moved()
            for x in (columns[:-1] + columns[1:]) / 2
        ]
    else:
        radius = rng.uniform(0.01, 0.025)
        solids = [cylinder((x * wide / 2, 0, 0), (x * wide / 2, tall, 0), radius) for x in (-1, 1)]
        if style == "slats":
            solids.append(box((wide, 0.06, radius * 2), (0, tall - 0.03, 0)))
            count = rng.integers(2, 6)
            solids += [cylinder((x, 0, 0), (x, tall - 0.05, 0), radius * 0.7) for x in np.linspace(-0.35, 0.35, count) * wide]
        else:
            heights = np.linspace(0.25, 1.0, rng.integers(2, 5)) * tall
            solids += [box((wide, rng.uniform(0.04, 0.1), radius * 1.5), (0, y - 0.03, 0)) for y in heights]
    return [("back", solid.moved(lean, at)) for solid in solids]


def _chair_base(rng: np.random.Generator, style: str, width: float, depth: float, height: float, side_rails: bool) -> Pieces:
    radius = rng.uniform(0.01, 0.03)
    x, z = width / 2 - radius - 0.01, depth / 2 - radius - 0.01
    splay = rng.uniform(0, 0.06) if rng.random() < 0.5 else 0.0
    corners = [(a * x, b * z) for a in (-1, 1) for b in (-1, 1)]
    solids: list[Solid] = []
    if style == "legs":
        is_square = rng.random() < 0.4
        for a, b in corners:
            foot = (a + np.sign(a) * splay, 0, b + np.sign(b) * splay)
            if is_square:
                solids.append(box((2 * radius, height, 2 * radius), (a, height / 2, b)))
            else:
                solids.append(cylinder(foot, (a, height, b), radius * rng.uniform(0.5, 1.0), radius))
        if rng.random() < 0.4:
            y = height * rng.uniform(0.25, 0.6)
            solids += [cylinder((a, y, -z), (a, y, z), radius * 0.7) for a in (-x, x)]
            if side_rails and rng.random() < 0.5:
                solids += [cylinder((-x, y + 0.03, b), (x, y + 0.03, b), radius * 0.7) for b in (-z, z)[: rng.integers(1, 3)]]
    elif style == "sled":
        for a in (-x, x):
            path = np.array([[a, height, z], [a, radius, z], [a, radius, -z], [a, height, -z]])
            solids.append(tube(rounded_path(path, 0.05), radius))
    elif style == "cantilever":
        for a in (-x, x):
            path = np.array([[a, height, -z], [a, height - radius, z], [a, radius, z], [a, radius, -z]])
            solids.append(tube(rounded_path(path, 0.06), radius))
        solids.append(cylinder((-x, radius, -z), (x, radius, -z), radius))
    elif style == "pedestal":
        solids.append(lathe([(0, 0), (0.2, 0), (0.2, 0.015), (0.03, 0.05), (0.025, height * 0.7), (0.1, height), (0, height)]))
    elif style == "swivel":
        solids.append(cylinder((0, 0.08, 0), (0, height, 0), rng.uniform(0.02, 0.035)))
        spokes = rng.integers(4, 6)
        for turn in np.arange(spokes) * 2 * np.pi / spokes:
            tip = np.array([np.cos(turn), 0, np.sin(turn)]) * rng.uniform(0.24, 0.3)
            solids += [
                cylinder((0, 0.1, 0), tip + [0, 0.06, 0], 0.02, 0.014, sides=8),
                superellipsoid((0.025, 0.03, 0.025), tip + [0, 0.03, 0]),
            ]
    else:
        solids.append(box((width * 0.92, height, depth * 0.9), (0, height / 2, 0)))
    return [("leg", solid) for solid in solids]


def _chair_arms(rng: np.random.Generator, width: float, depth: float, height: float) -> Pieces:
    rise, radius = rng.uniform(0.15, 0.28), rng.uniform(0.012, 0.04)
    style = rng.choice(["rail", "loop", "panel"])
    pieces: Pieces = []
    for side in (-1, 1):
        x = side * (width / 2 + radius)
        if style == "panel":
            pieces.append(("arm", box((2 * radius, rise + 0.1, depth * 0.95), (x, height + rise / 2 - 0.05, 0))))
        elif style == "rail":
            pieces.append(("arm", box((2.2 * radius, 0.03, depth * 0.9), (x, height + rise, 0))))
            pieces.append(("arm", cylinder((x, height, depth * 0.35), (x, height + rise, depth * 0.35), radius * 0.6)))
        else:
            path = [[x, height, depth * 0.3], [x, height + rise, depth * 0.4], [x, height + rise, -depth * 0.45]]
            pieces.append(("arm", tube(rounded_path(np.array(path), 0.06), radius * 0.8)))
    return pieces
