"""Airplanes as (part, solid) pairs, y up, the nose towards +z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Pieces, Solid, box, cylinder, ellipse, lathe, loft, rotation, superellipsoid

HALF_LENGTH = 1.0  # of the fuselage
SECTION = 16  # points around a wing


@dataclass(frozen=True)
class _Style:
    """Typical proportions in half fuselage lengths: radius of the fuselage; span of one wing; chord at its root;
    sweep, sideways to backwards; chord at the tip, relative to the root."""

    radius: float
    span: float
    chord: float
    sweep: float
    tip: float
    frequency: float


STYLES = {
    "airliner": _Style(0.11, 0.9, 0.36, 0.55, 0.3, 0.36),
    "business": _Style(0.12, 0.78, 0.34, 0.35, 0.4, 0.17),
    "propeller": _Style(0.13, 1.0, 0.3, 0.03, 0.7, 0.16),
    "biplane": _Style(0.12, 1.0, 0.32, 0.03, 0.9, 0.07),
    "fighter": _Style(0.09, 0.52, 0.6, 0.55, 0.25, 0.14),
    "delta": _Style(0.075, 0.55, 1.15, 0.95, 0.08, 0.07),
    "glider": _Style(0.07, 1.3, 0.17, 0.02, 0.5, 0.03),
}


@dataclass(frozen=True)
class _Wing:
    """One wing along +x.

    Attributes:
        root: [3], middle of the chord at the fuselage.
        span: length along x.
        chord: at the root, without the extra of the kink.
        tip: chord at the tip, relative to the root.
        sweep, dihedral: slopes, backwards and upwards per length along x.
        thick: thickness relative to the chord.
        kink: share of the span up to which the trailing edge is drawn out, 0 for straight edges.
        round_tip: how much of the chord the last twentieth of the span loses.
    """

    root: np.ndarray
    span: float
    chord: float
    tip: float
    sweep: float
    dihedral: float
    thick: float
    kink: float = 0.0
    round_tip: float = 0.0

    def chord_at(self, share: np.ndarray | float) -> np.ndarray:
        straight = self.chord * (1 + (self.tip - 1) * np.asarray(share))
        extra = 0.6 * self.chord * np.maximum(0, 1 - np.asarray(share) / self.kink) if self.kink else 0.0
        return (straight + extra) * (1 - self.round_tip * np.maximum(0, (np.asarray(share) - 0.95) / 0.05))

    def at(self, share: float) -> np.ndarray:
        """[3], the middle of the chord at a share of the span."""
        straight = self.chord * (1 + (self.tip - 1) * share)
        back = float(self.chord_at(share) - straight) / 2 if share < 0.95 else 0.0
        return self.root + [self.span * share, self.dihedral * self.span * share, -self.sweep * self.span * share - back]

    def solid(self) -> Solid:
        shares = np.unique([0.0, self.kink, 0.5, 0.95, 1.0])
        profile = ellipse(0.5, 0.5, SECTION)
        middles, chords = np.stack([self.at(share) for share in shares]), self.chord_at(shares)
        rings = [
            middle + np.stack([np.zeros(SECTION), profile[:, 1] * self.thick * chord, profile[:, 0] * chord], 1)
            for middle, chord in zip(middles, chords, strict=True)
        ]

        def inside(points: np.ndarray) -> np.ndarray:
            share = (points[:, 0] - self.root[0]) / self.span
            chord, y, z = (np.interp(share, shares, values) for values in (chords, middles[:, 1], middles[:, 2]))
            height = np.sqrt(np.maximum(0, 1 - (2 * (points[:, 2] - z) / chord) ** 2)) * self.thick * chord / 2
            return (share > 0) & (share < 1) & (np.abs(points[:, 1] - y) < 0.95 * height)

        return loft(rings, inside)


def airplane(rng: np.random.Generator) -> Pieces:
    """Airliners, business jets, propeller airplanes, biplanes, fighters, deltas and gliders."""
    name = str(rng.choice(list(STYLES), p=[style.frequency for style in STYLES.values()]))
    style = STYLES[name]
    radius = style.radius * rng.uniform(0.8, 1.25)
    wing = _main_wing(rng, name, style, radius)
    pieces: Pieces = [("body", _fuselage(rng, name, radius))]
    pieces += _both("wing", wing.solid())
    pieces += _wing_details(rng, name, wing, radius)
    pieces += _tail(rng, name, radius, wing.thick)
    pieces += _engines(rng, name, wing, radius)
    if name in ("fighter", "propeller", "glider") and rng.random() < 0.75:
        canopy = (radius * rng.uniform(0.5, 0.75), radius * rng.uniform(0.4, 0.8), rng.uniform(0.16, 0.28))
        pieces.append(("body", superellipsoid(canopy, (0, radius * 0.8, rng.uniform(0.2, 0.5)))))
    if rng.random() < {"propeller": 0.6, "biplane": 0.9}.get(name, 0.3):
        pieces += _landing_gear(rng, radius)
    return pieces


def _both(part: str, solid: Solid) -> Pieces:
    return [(part, solid), (part, solid.mirrored(0))]


def _main_wing(rng: np.random.Generator, name: str, style: _Style, radius: float) -> _Wing:
    heights = {"biplane": [0.0, 0.0, 1.0], "glider": [0.1, 0.5, 0.4], "propeller": [0.4, 0.15, 0.45]}.get(
        name, [0.65, 0.2, 0.15]
    )
    height = radius * rng.choice([-0.55, 0.0, 0.85], p=heights) if name != "biplane" else -radius * rng.uniform(0.5, 0.8)
    has_kink = name in ("airliner", "business") and rng.random() < 0.6
    forward = {"delta": -0.25, "fighter": -0.1, "propeller": 0.2, "biplane": 0.3, "glider": 0.3}.get(name, 0.15)
    return _Wing(
        root=np.array([radius * 0.4, height, forward + rng.uniform(-0.12, 0.12)]),
        span=style.span * rng.uniform(0.8, 1.2),
        chord=style.chord * rng.uniform(0.75, 1.2),
        tip=style.tip * rng.uniform(0.7, 1.3),
        sweep=style.sweep * rng.uniform(0.7, 1.25),
        dihedral=rng.uniform(-0.02, 0.14),
        thick=rng.uniform(0.04, 0.14),
        kink=rng.uniform(0.25, 0.42) if has_kink else 0.0,
        round_tip=rng.choice([0.0, rng.uniform(0.2, 0.8)]),
    )


def _fuselage(rng: np.random.Generator, name: str, radius: float) -> Solid:
    """Rings along z, round at the nose, tapered and raised towards the tail."""
    nose, tail = rng.uniform(0.12, 0.4), rng.uniform(0.35, 0.9)
    if name in ("propeller", "biplane", "glider"):
        nose, tail = rng.uniform(0.06, 0.3), rng.uniform(0.8, 1.4)
    if name in ("fighter", "delta"):
        nose, tail = rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.6)
    end = rng.uniform(0.04, 0.3) if name not in ("fighter", "delta") else rng.uniform(0.4, 0.8)
    flat, boxy, sharp = rng.uniform(0.85, 1.2), rng.choice([1.0, rng.uniform(0.5, 1.0)]), rng.uniform(0.4, 0.75)
    droop, rise = rng.uniform(0, 0.35) * radius, rng.uniform(0.1, 0.9) * radius
    stations = np.concatenate([np.linspace(-1, 0.5, 16), np.linspace(0.58, 1, 11)]) * HALF_LENGTH
    from_nose = np.minimum((HALF_LENGTH - stations) / nose, 1)
    from_tail = np.minimum((stations + HALF_LENGTH) / tail, 1)
    scale = np.maximum(np.minimum((1 - (1 - from_nose) ** 2) ** sharp, end + (1 - end) * from_tail**0.8), 0.03) * radius
    lift = rise * (1 - from_tail) ** 1.5 - droop * (1 - from_nose) ** 2
    section = ellipse(1, flat, 20, boxy)
    rings = [
        np.stack([section[:, 0] * wide, -section[:, 1] * wide + up, np.full(20, z)], 1)
        for wide, up, z in zip(scale, lift, stations, strict=True)
    ]

    def inside(points: np.ndarray) -> np.ndarray:
        wide, up = np.interp(points[:, 2], stations, scale), np.interp(points[:, 2], stations, lift)
        return (np.abs(points[:, 2]) < HALF_LENGTH) & (np.hypot(points[:, 0], (points[:, 1] - up) / flat) < 0.94 * wide)

    return loft(rings, inside)


def _wing_details(rng: np.random.Generator, name: str, wing: _Wing, radius: float) -> Pieces:
    pieces: Pieces = []
    is_jet = name in ("airliner", "business")
    if is_jet and rng.random() < 0.35:
        winglet = _Wing(np.zeros(3), rng.uniform(0.06, 0.14), wing.chord * wing.tip, 0.5, 0.6, 0, wing.thick).solid()
        pieces += _both("wing", winglet.moved(rotation(2, np.pi / 2 - rng.uniform(0, 0.5)), wing.at(0.99)))
    elif name in ("business", "fighter", "propeller") and rng.random() < 0.3:
        size, long = rng.uniform(0.025, 0.05), rng.uniform(0.12, 0.3)
        pieces += _both("wing", superellipsoid((size, size, long), wing.at(1.0), rng.uniform(0.6, 1.0)))
    if name == "airliner" and rng.random() < 0.4:
        for share in np.linspace(0.2, 0.75, rng.integers(2, 4)):
            at = wing.at(share) - [0, 0.015, 0.4 * float(wing.chord_at(share))]
            pieces += _both("wing", superellipsoid((0.012, 0.018, 0.11), at))
    if is_jet and rng.random() < 0.5:
        belly = (radius * rng.uniform(0.9, 1.15), radius * 0.5, wing.chord * rng.uniform(0.7, 1.0))
        pieces.append(("body", superellipsoid(belly, (0, -radius * 0.65, wing.root[2]), 0.7, 0.7)))
    if name in ("fighter", "delta") and rng.random() < 0.35:
        canard = _Wing(np.array([radius * 0.5, radius * 0.2, 0.5]), rng.uniform(0.15, 0.25), 0.18, 0.4, 0.6, 0, 0.06)
        pieces += _both("wing", canard.solid())
    if name == "biplane":
        pieces += _upper_wing(rng, wing, radius)
    return pieces


def _upper_wing(rng: np.random.Generator, wing: _Wing, radius: float) -> Pieces:
    gap = radius * 2 + rng.uniform(0.06, 0.14)
    upper = _Wing(
        wing.root * [0, 1, 1] + [0, gap, rng.uniform(0, 0.1)], wing.span * rng.uniform(0.95, 1.1), wing.chord, wing.tip,
        wing.sweep, wing.dihedral, wing.thick,
    )  # fmt: skip
    pieces = _both("wing", upper.solid())
    thin = rng.uniform(0.006, 0.012)
    for share in (0.3, 0.75):
        for shift in (-0.08, 0.08):
            low, high = wing.at(share), upper.at(share)
            pieces += _both("wing", cylinder(low + [0, 0, shift], high + [0, 0, shift], thin, sides=8))
    for shift in (-0.08, 0.08):
        top = upper.at(0.05) + [0, 0, shift]
        pieces += _both("wing", cylinder(top * [1, 0, 1] + [0, radius * 0.6, 0], top, thin, sides=8))
    return pieces


def _tail(rng: np.random.Generator, name: str, radius: float, thick: float) -> Pieces:
    z = -HALF_LENGTH + rng.uniform(0.12, 0.3)
    is_straight = name in ("propeller", "biplane", "glider")
    tall, chord = rng.uniform(0.2, 0.42) * (0.75 if is_straight or name == "delta" else 1), rng.uniform(0.2, 0.38)
    sweep = rng.uniform(0.05, 0.4) if is_straight else rng.uniform(0.35, 0.95)
    round_tip = rng.choice([0.0, 0.6])
    fin = _Wing(np.zeros(3), tall, chord, rng.uniform(0.3, 0.75), sweep, 0, thick, round_tip=round_tip).solid()
    pieces: Pieces = []
    if name == "fighter" and rng.random() < 0.45:
        pieces += _both("tail", fin.moved(rotation(2, np.pi / 2 - rng.uniform(0.1, 0.45)), (radius * 0.7, 0, z)))
    else:
        pieces.append(("tail", fin.moved(rotation(2, np.pi / 2), (0, radius * 0.5, z))))
    if name == "delta":
        return pieces
    height = radius * rng.uniform(0.1, 0.5)
    if rng.random() < {"business": 0.65, "airliner": 0.2, "glider": 0.6, "propeller": 0.15}.get(name, 0.0):
        height = radius * 0.5 + tall * rng.uniform(0.6, 0.98)
        z -= sweep * (height - radius * 0.5)
    half = _Wing(
        np.array([0.01, height, z]), rng.uniform(0.22, 0.42), chord * rng.uniform(0.65, 1.0), rng.uniform(0.35, 0.75),
        sweep * 0.8, rng.uniform(-0.05, 0.12), thick, round_tip=round_tip,
    )  # fmt: skip
    return [*pieces, *_both("tail", half.solid())]


def _engines(rng: np.random.Generator, name: str, wing: _Wing, radius: float) -> Pieces:
    size = rng.uniform(0.04, 0.08)
    if name in ("propeller", "biplane"):
        return _propellers(rng, name, wing, radius, size)
    if name == "glider":
        return []
    if name == "airliner" and rng.random() < 0.8:
        pieces: Pieces = []
        for share in np.linspace(0.32, 0.62, 2)[: rng.choice([1, 2], p=[0.7, 0.3])]:
            under = size * rng.uniform(0.9, 1.4)
            at = wing.at(share) + [0, -under, 0.4 * float(wing.chord_at(share))]
            pieces += _both("engine", _nacelle(rng, size).moved(offset=at))
            pylon = box((0.015, under, size * 3), at + [0, under / 2, -size * 1.2])
            pieces += _both("engine", pylon)
        return pieces
    if name in ("airliner", "business"):
        out = radius + size * rng.uniform(0.9, 1.5)
        at = np.array([out, radius * rng.uniform(0.2, 0.6), -HALF_LENGTH + rng.uniform(0.4, 0.65)])
        pieces = _both("engine", _nacelle(rng, size).moved(offset=at))
        pieces += _both("engine", box((out - radius * 0.4, 0.02, size * 3), (at[0] / 2 + radius * 0.2, at[1], at[2])))
        if rng.random() < 0.25:
            pieces.append(("engine", _nacelle(rng, size).moved(offset=(0, radius + size * 0.6, at[2] - 0.1))))
        return pieces
    if rng.random() < 0.5:
        intake = box((radius, radius * 1.2, 0.6), (radius * 1.1, -radius * 0.2, 0.1), rng.uniform(0.7, 1.0))
        return _both("engine", intake)
    return [("engine", cylinder((0, 0, -0.9), (0, 0, -1.06), radius * 0.75, radius * rng.uniform(0.45, 0.7)))]


def _propellers(rng: np.random.Generator, name: str, wing: _Wing, radius: float, size: float) -> Pieces:
    hubs = [np.array([0, -rng.uniform(0, 0.35) * radius, HALF_LENGTH])]
    pieces: Pieces = []
    if name == "propeller" and rng.random() < 0.4:
        hubs = []
        for share in np.linspace(0.3, 0.58, 2)[: rng.choice([1, 2])]:
            hub = wing.at(share) + [0, 0, 0.9 * float(wing.chord_at(share))]
            hubs += [hub, hub * [-1, 1, 1]]
        pieces += [("engine", superellipsoid((size, size, size * 3.2), hub - [0, 0, size * 3.1], 0.8)) for hub in hubs]
    elif rng.random() < 0.5:
        pieces.append(("engine", cylinder(hubs[0] - [0, 0, 0.12], hubs[0] + [0, 0, 0.01], radius * 0.85, radius * 0.7)))
    turn, blades, reach = rng.uniform(0, np.pi), rng.integers(2, 5), rng.uniform(0.18, 0.32)
    for hub in hubs:
        pieces.append(("engine", superellipsoid((0.025, 0.025, 0.05), hub)))
        for angle in turn + np.arange(blades) * 2 * np.pi / blades:
            pieces.append(("engine", box((0.045, reach, 0.012), (0, reach / 2, 0)).moved(rotation(2, angle), hub)))
    return pieces


def _nacelle(rng: np.random.Generator, size: float) -> Solid:
    """A turbine along z about the origin, open in front."""
    long = size * rng.uniform(2.8, 5.5)
    back, front = rng.uniform(0.4, 0.75) * size, rng.uniform(0.8, 0.97) * size
    profile = [(0, -long / 2), (back, -long / 2), (size, 0), (front, long / 2), (front - 0.15 * size, long / 2)]
    return lathe([*profile, (0, long * rng.uniform(0.2, 0.45))], sides=16).moved(rotation(0, np.pi / 2))


def _landing_gear(rng: np.random.Generator, radius: float) -> Pieces:
    wheel, low, apart = rng.uniform(0.03, 0.06), radius + rng.uniform(0.06, 0.16), rng.uniform(0.1, 0.25)
    main_z = rng.uniform(0.0, 0.3)
    tail_or_nose = (0.0, main_z - 0.9 if main_z > 0.2 else 0.75)
    pieces: Pieces = []
    for x, z in ((apart, main_z), (-apart, main_z), tail_or_nose):
        reach = low if z > -0.3 else radius * 0.8
        pieces.append(("body", cylinder((x * 0.5, -radius * 0.2, z), (x, -reach, z), 0.012, sides=8)))
        pieces.append(("body", cylinder((x - 0.012, -reach, z), (x + 0.012, -reach, z), wheel * (1 if x else 0.7), sides=16)))
    return pieces
