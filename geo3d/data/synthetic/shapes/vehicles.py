"""Airplanes, cars, rockets and skateboards. Each function draws one object as (part, solid) pairs, y up, front towards +z."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Pieces, Solid, box, cylinder, ellipse, lathe, loft, rotation, superellipsoid


def airplane(rng: np.random.Generator) -> Pieces:
    """Airliners, business jets, propeller airplanes, fighters and deltas."""
    style = rng.choice(["airliner", "business", "propeller", "fighter", "delta"], p=[0.4, 0.15, 0.15, 0.2, 0.1])
    long = 2.0
    radius = {"airliner": 0.11, "business": 0.1, "propeller": 0.12, "fighter": 0.09, "delta": 0.07}[style] * rng.uniform(
        0.8, 1.25
    )
    pieces: Pieces = [("body", _fuselage(rng, long, radius, rng.uniform(0.85, 1.15)))]
    span = {"airliner": 0.95, "business": 0.8, "propeller": 0.95, "fighter": 0.55, "delta": 0.6}[style] * rng.uniform(0.85, 1.2)
    chord = {"airliner": 0.42, "business": 0.36, "propeller": 0.3, "fighter": 0.6, "delta": 1.2}[style] * rng.uniform(0.85, 1.2)
    sweep = {"airliner": 0.55, "business": 0.4, "propeller": 0.03, "fighter": 0.55, "delta": 0.95}[style] * rng.uniform(
        0.8, 1.2
    )
    tip = {"airliner": 0.28, "business": 0.35, "propeller": 0.7, "fighter": 0.25, "delta": 0.08}[style] * rng.uniform(0.8, 1.2)
    dihedral = rng.uniform(-0.02, 0.14)
    at_y = radius * (rng.choice([-0.5, 0.0, 0.85], p=[0.6, 0.25, 0.15]))
    at_z = rng.uniform(-0.05, 0.2) - (0.25 if style == "delta" else 0.0)
    thick = rng.uniform(0.05, 0.13)
    wing = _wing(span, chord, tip, sweep, dihedral, thick).moved(offset=(radius * 0.4, at_y, at_z))
    pieces += [("wing", wing), ("wing", wing.mirrored(0))]
    if rng.random() < 0.3 and style in ("airliner", "business"):
        end = np.array([radius * 0.4 + span, at_y + dihedral * span, at_z - sweep * span])
        winglet = _wing(0.12, chord * tip, 0.5, 0.6, 0, thick).moved(rotation(2, np.pi / 2 - 0.2), end)
        pieces += [("wing", winglet), ("wing", winglet.mirrored(0))]
    pieces += _empennage(rng, style, long, radius, thick)
    pieces += _engines(rng, style, long, radius, span, sweep, dihedral, at_y, at_z, chord)
    if style in ("fighter", "propeller") and rng.random() < 0.7:
        pieces.append(("body", superellipsoid((radius * 0.6, radius * 0.6, 0.22), (0, radius * 0.8, rng.uniform(0.2, 0.5)))))
    return pieces


def _fuselage(rng: np.random.Generator, long: float, radius: float, flat: float) -> Solid:
    nose, tail = rng.uniform(0.12, 0.4), rng.uniform(0.35, 0.8)
    end = rng.uniform(0.05, 0.35)
    stations = np.linspace(-long / 2, long / 2, 25)
    rings = []
    for z in stations:
        from_nose, from_tail = (long / 2 - z) / nose, (z + long / 2) / tail
        scale = min(1.0, np.sqrt(max(0.0, 1 - (1 - min(from_nose, 1)) ** 2)), end + (1 - end) * min(from_tail, 1) ** 0.8)
        lift = radius * 0.6 * (1 - min(from_tail, 1)) ** 1.5
        outline = ellipse(radius * max(scale, 0.03), radius * flat * max(scale, 0.03), 20)
        rings.append(np.stack([outline[:, 0], -outline[:, 1] + lift, np.full(20, z)], 1))
    thick_at = [ring[:, 0].max() for ring in rings]

    def inside(points: np.ndarray) -> np.ndarray:
        width = np.interp(points[:, 2], stations, thick_at)
        return (np.abs(points[:, 2]) < long / 2) & (np.hypot(points[:, 0], points[:, 1] / flat) < 0.9 * width)

    return loft(rings, inside)


def _wing(span: float, chord: float, tip: float, sweep: float, dihedral: float, thick: float) -> Solid:
    """A wing from the origin along +x; sweep and dihedral are slopes, tip is relative to the chord at the root."""
    profile = ellipse(0.5, 0.5 * thick, 14)
    rings = []
    for t in (0.0, 1.0):
        c = chord * (1 + (tip - 1) * t)
        x = np.full(14, span * t)
        rings.append(np.stack([x, profile[:, 1] * c + dihedral * span * t, profile[:, 0] * c - sweep * span * t], 1))
    return loft(rings)


def _empennage(rng: np.random.Generator, style: str, long: float, radius: float, thick: float) -> Pieces:
    at_z = -long / 2 + rng.uniform(0.12, 0.3)
    tall = rng.uniform(0.25, 0.45) * (0.8 if style == "delta" else 1.0)
    chord = rng.uniform(0.22, 0.38)
    sweep = rng.uniform(0.3, 0.9) if style != "propeller" else rng.uniform(0.1, 0.4)
    fin = _wing(tall, chord, rng.uniform(0.35, 0.7), sweep, 0, thick)
    pieces: Pieces = []
    if style == "fighter" and rng.random() < 0.45:
        fin = fin.moved(rotation(2, np.pi / 2 - rng.uniform(0.1, 0.4)), (radius * 0.7, 0, at_z))
        pieces += [("tail", fin), ("tail", fin.mirrored(0))]
    else:
        pieces.append(("tail", fin.moved(rotation(2, np.pi / 2), (0, radius * 0.5, at_z))))
    if style == "delta":
        return pieces
    height = radius * 0.3
    if rng.random() < (0.6 if style == "business" else 0.15):
        height = radius * 0.5 + tall * 0.95
        at_z -= sweep * tall
    stabilizer = _wing(rng.uniform(0.25, 0.42), chord * rng.uniform(0.7, 1.0), rng.uniform(0.35, 0.7), sweep * 0.8, 0.05, thick)
    stabilizer = stabilizer.moved(offset=(0.02, height, at_z))
    return [*pieces, ("tail", stabilizer), ("tail", stabilizer.mirrored(0))]


def _engines(
    rng: np.random.Generator, style: str, long: float, radius: float, span: float, sweep: float, dihedral: float,
    at_y: float, at_z: float, chord: float,
) -> Pieces:  # fmt: skip
    pieces: Pieces = []
    size = rng.uniform(0.04, 0.075)
    if style == "airliner":
        places = rng.choice([1, 2], p=[0.65, 0.35])
        for place in np.linspace(0.32, 0.62, 2)[:places]:
            x = radius * 0.4 + span * place
            z = at_z - sweep * span * place + chord * 0.35
            pod = _nacelle(size, size * rng.uniform(3, 5)).moved(offset=(x, at_y + dihedral * span * place - size * 1.3, z))
            pieces += [("engine", pod), ("engine", pod.mirrored(0))]
    elif style == "business":
        pod = _nacelle(size, size * rng.uniform(4, 6)).moved(offset=(radius + size * 1.2, radius * 0.5, -long / 2 + 0.5))
        pieces += [("engine", pod), ("engine", pod.mirrored(0))]
    elif style == "propeller":
        hubs = [np.array([0, 0, long / 2])]
        if rng.random() < 0.4:
            hub = np.array([radius * 0.4 + span * 0.35, at_y, at_z + chord * 0.6])
            hubs = [hub, hub * [-1, 1, 1]]
            pieces += [("engine", _nacelle(size, size * 5).moved(offset=hub - [0, 0, size * 2.4])) for hub in hubs]
        turn, blades = rng.uniform(0, np.pi), rng.integers(2, 5)
        for hub in hubs:
            for angle in turn + np.arange(blades) * 2 * np.pi / blades:
                blade = box((0.045, rng.uniform(0.2, 0.3), 0.012), (0, 0.12, 0)).moved(rotation(2, angle), hub)
                pieces.append(("engine", blade))
    elif style == "fighter" and rng.random() < 0.5:
        pod = box((radius, radius * 1.2, 0.6), (radius * 1.1, -radius * 0.2, 0.1))
        pieces += [("engine", pod), ("engine", pod.mirrored(0))]
    else:
        pieces.append(("engine", cylinder((0, 0, -long / 2 + 0.1), (0, 0, -long / 2 - 0.06), radius * 0.6, radius * 0.5)))
    return pieces


def _nacelle(size: float, long: float) -> Solid:
    """A turbine along z about the origin, open in front."""
    profile = [
        (0, -long / 2),
        (size * 0.6, -long / 2),
        (size, 0),
        (size * 0.95, long / 2),
        (size * 0.75, long / 2),
        (0, long * 0.3),
    ]
    return lathe(profile, sides=16).moved(rotation(0, np.pi / 2))


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
    axle = half * rng.uniform(0.5, 0.62)
    for z in (-axle, axle):
        pieces.append(("truck", box((0.1, deck_y - wheel, 0.1), (0, (deck_y + wheel) / 2, z))))
        pieces.append(("truck", cylinder((-wide * 0.42, wheel, z), (wide * 0.42, wheel, z), 0.02)))
        for x in (-1, 1):
            pieces.append(("wheel", cylinder((x * wide * 0.32, wheel, z), (x * wide * 0.5, wheel, z), wheel)))
    return pieces
