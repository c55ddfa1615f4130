"""Cars, rockets and skateboards. Each function draws one object as (part, solid) pairs, y up, front towards +z."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.primitives import Pieces, Solid, box, cylinder, ellipse, lathe, loft, rotation, superellipsoid


def _wing(span: float, chord: float, tip: float, sweep: float, dihedral: float, thick: float) -> Solid:
    """A wing from the origin along +x; sweep and dihedral are slopes, tip is relative to the chord at the root."""
    profile = ellipse(0.5, 0.5 * thick, 14)
    rings = []
    for t in (0.0, 1.0):
        c = chord * (1 + (tip - 1) * t)
        x = np.full(14, span * t)
        rings.append(np.stack([x, profile[:, 1] * c + dihedral * span * t, profile[:, 0] * c - sweep * span * t], 1))
    return loft(rings)


def car(rng: np.random.Generator) -> Pieces:
    """Sedans, hatchbacks, estates, vans, pick-ups and sports cars."""
    style = rng.choice(["sedan", "hatch", "van", "pickup", "sports", "suv"], p=[0.28, 0.16, 0.14, 0.12, 0.15, 0.15])
    long, wide = rng.uniform(1.7, 2.15), rng.uniform(0.72, 0.88)
    body_tall = {"sports": 0.24, "suv": 0.36, "van": 0.38, "pickup": 0.34}.get(style, 0.3) * rng.uniform(0.9, 1.1)
    cabin_tall = {"sports": 0.18, "van": 0.4, "suv": 0.28, "pickup": 0.28}.get(style, 0.24) * rng.uniform(0.9, 1.1)
    wheel = rng.uniform(0.14, 0.19)
    base = wheel * rng.uniform(0.7, 1.0)
    soft = rng.uniform(0.12, 0.4)
    belt = base + body_tall
    pieces: Pieces = [("body", superellipsoid((wide / 2, body_tall / 2, long / 2), (0, base + body_tall / 2, 0), soft, soft))]
    front, rear = {
        "sedan": (0.12, -0.3), "hatch": (0.14, -0.47), "van": (0.3, -0.49), "pickup": (0.18, -0.08), "sports": (0.02, -0.36),
        "suv": (0.16, -0.48),
    }[style]  # fmt: skip
    front, rear = (front + rng.uniform(-0.04, 0.04)) * long, (rear + rng.uniform(-0.02, 0.02)) * long
    rake_front = rng.uniform(0.12, 0.35) * (0.6 if style == "van" else 1.0)
    rake_rear = rng.uniform(0.02, 0.12) if style in ("hatch", "van", "suv", "pickup") else rng.uniform(0.15, 0.35)
    narrow = rng.uniform(0.74, 0.92)

    def ring(half: float, y: float, z_front: float, z_rear: float) -> np.ndarray:
        outline = ellipse(half, (z_front - z_rear) / 2, 24, 0.25)
        return np.stack([outline[:, 0], np.full(24, y), outline[:, 1] + (z_front + z_rear) / 2], 1)

    top = belt + cabin_tall
    cabin = [ring(wide * 0.47, belt - 0.04, front, rear), ring(wide / 2 * narrow, top, front - rake_front, rear + rake_rear)]
    pieces.append(("roof", loft(cabin)))
    hood = superellipsoid((wide * 0.44, 0.03, (long / 2 - front) * 0.48), (0, belt, (long / 2 + front) / 2), 0.5, 0.3)
    pieces.append(("hood", hood))
    if style == "pickup":
        bed = (rear - long / 2 * -1) / 2
        for x in (-1, 1):
            pieces.append(("body", box((0.04, 0.1, bed * 1.9), (x * wide * 0.47, belt + 0.04, rear - bed))))
    if style == "sports" and rng.random() < 0.5:
        pieces.append(("body", box((wide * 0.9, 0.02, 0.12), (0, belt + 0.1, -long / 2 + 0.08))))
    axle = rng.uniform(0.28, 0.34) * long
    for x in (-1, 1):
        for z in (-axle, axle):
            inner, outer = (x * (wide / 2 - 0.1), wheel, z), (x * (wide / 2 + 0.015), wheel, z)
            pieces.append(("wheel", cylinder(inner, outer, wheel, sides=24)))
    if rng.random() < 0.5:
        for x in (-1, 1):
            pieces.append(
                ("body", superellipsoid((0.05, 0.035, 0.025), (x * (wide / 2 + 0.04), belt + 0.05, front - 0.05), 0.6, 0.6))
            )
    return pieces


def rocket(rng: np.random.Generator) -> Pieces:
    """Rockets with fins, some with boosters; the nose points up."""
    tall, radius = 2.0, rng.uniform(0.08, 0.24)
    nose = rng.uniform(0.25, 0.6)
    bulge = rng.uniform(0.75, 1.1)
    body = [
        (0, 0),
        (radius * rng.uniform(0.6, 1), 0),
        (radius * bulge, (tall - nose) * 0.4),
        (radius, tall - nose),
        (0, tall - nose),
    ]
    pieces: Pieces = [("body", lathe(body))]
    sharp = rng.uniform(0.5, 1.2)
    steps = np.linspace(0, 1, 8)
    profile = [(0.0, tall - nose), *((radius * (1 - t ** (1 + sharp)), tall - nose + nose * t) for t in steps)]
    pieces.append(("nose", lathe(profile)))
    fins, span, chord = rng.integers(3, 5), rng.uniform(0.12, 0.35), rng.uniform(0.25, 0.55)
    fin = _wing(span, chord, rng.uniform(0.2, 0.8), rng.uniform(-0.2, 0.9), 0, 0.06).moved(
        rotation(0, -np.pi / 2), (radius * 0.85, chord * 0.7, 0)
    )
    for turn in np.arange(fins) * 2 * np.pi / fins:
        pieces.append(("fin", fin.moved(rotation(1, turn))))
    if rng.random() < 0.3:
        small = radius * rng.uniform(0.4, 0.7)
        for turn in np.arange(2) * np.pi + 0.5:
            at = np.array([np.cos(turn), 0, np.sin(turn)]) * (radius + small)
            pieces.append(("body", lathe([(0, 0), (small, 0), (small, tall * 0.45), (0, tall * 0.55)], at)))
    if rng.random() < 0.5:
        pieces.append(("body", lathe([(0, -0.12), (radius * 0.6, -0.12), (radius * 0.3, 0.02), (0, 0.02)])))
    return pieces


def skateboard(rng: np.random.Generator) -> Pieces:
    """Skateboards and longboards, flat or with kicked ends."""
    long, wide, thick = rng.uniform(1.4, 2.2), rng.uniform(0.36, 0.5), rng.uniform(0.02, 0.05)
    kick, wheel = rng.choice([0.0, rng.uniform(0.08, 0.22)], p=[0.25, 0.75]), rng.uniform(0.055, 0.09)
    deck_y = wheel * 2 + rng.uniform(0.03, 0.08)
    half, exponent = long / 2, rng.uniform(0.3, 0.8)
    rings = []
    for z in np.linspace(-half, half, 21):
        width = wide / 2 * max(1 - (abs(z) / half) ** (2 / exponent + 2), 0.04) ** 0.5
        lift = kick * max(0.0, (abs(z) / half - 0.65) / 0.35) ** 1.5
        square = np.array([[-width, -thick / 2], [width, -thick / 2], [width, thick / 2], [-width, thick / 2]])
        rings.append(np.stack([square[:, 0], square[:, 1] + deck_y + lift, np.full(4, z)], 1))
    pieces: Pieces = [("deck", loft(rings))]
    axle = half * rng.uniform(0.45, 0.66)
    truck, riser = str(rng.choice(["block", "cone", "plate"])), rng.random() < 0.4
    for z in (-axle, axle):
        if truck == "block":
            pieces.append(("truck", box((0.1, deck_y - wheel, 0.1), (0, (deck_y + wheel) / 2, z))))
        elif truck == "cone":
            pieces.append(("truck", cylinder((0, wheel, z), (0, deck_y, z), 0.03, 0.07)))
        else:
            pieces.append(("truck", box((wide * 0.5, (deck_y - wheel) * 0.5, 0.14), (0, deck_y * 0.75 + wheel * 0.25, z))))
            pieces.append(("truck", cylinder((0, wheel, z), (0, deck_y, z), 0.025)))
        if riser:
            pieces.append(("truck", box((0.14, 0.025, 0.2), (0, deck_y - thick / 2 - 0.012, z))))
        pieces.append(("truck", cylinder((-wide * 0.42, wheel, z), (wide * 0.42, wheel, z), 0.02)))
        for x in (-1, 1):
            pieces.append(("wheel", cylinder((x * wide * 0.32, wheel, z), (x * wide * 0.5, wheel, z), wheel)))
    return pieces
