"""Bottles, caps, guitars, knives, lamps, laptops, monitors and mugs, as (part, solid) pairs, y up, front towards +z."""

from __future__ import annotations

import numpy as np

from geo3d.data.synthetic.shapes.primitives import (
    Pieces,
    Solid,
    box,
    cylinder,
    ellipse,
    lathe,
    loft,
    prism,
    rotation,
    superellipsoid,
    tube,
)


def bottle(rng: np.random.Generator) -> Pieces:
    """Wine, beer and water bottles, flasks and jars, round or square."""
    radius, tall = rng.uniform(0.12, 0.3), rng.uniform(0.5, 0.8)
    neck, neck_tall = radius * rng.uniform(0.22, 0.6), rng.uniform(0.06, 0.4)
    shoulder = rng.uniform(0.05, 0.35)
    waist = 1 - rng.choice([0.0, rng.uniform(0.05, 0.25)])
    curve = rng.uniform(0.5, 2.0)
    slope = [(neck + (radius - neck) * (1 - t**curve), tall + shoulder * t) for t in np.linspace(0, 1, 7)]
    body = [(0.0, 0.0), (radius * 0.9, 0.0), (radius, 0.04), (radius * waist, tall * 0.5), (radius, tall * 0.8), *slope]
    top = tall + shoulder
    exponent = rng.choice([1.0, rng.uniform(0.2, 0.5)], p=[0.75, 0.25])
    pieces: Pieces = [("body", _squared(body, exponent) if exponent < 1 else lathe([*body, (0, top)]))]
    pieces.append(
        (
            "neck",
            lathe(
                [(0, top - 0.005), (neck, top - 0.005), (neck * rng.uniform(0.85, 1.0), top + neck_tall), (0, top + neck_tall)]
            ),
        )
    )
    cap = neck * rng.uniform(1.05, 1.4)
    if rng.random() < 0.75:
        pieces.append(("cap", cylinder((0, top + neck_tall * 0.75, 0), (0, top + neck_tall + rng.uniform(0.03, 0.12), 0), cap)))
    return pieces


def _squared(profile: list[tuple[float, float]], exponent: float) -> Solid:
    rings = []
    for radius, y in profile[1:]:
        flat = ellipse(radius, radius, 28, exponent)
        rings.append(np.stack([flat[:, 0], np.full(28, y), flat[:, 1]], 1))
    return loft(rings)


def mug(rng: np.random.Generator) -> Pieces:
    """Mugs and cups with one handle; inside and outside are surfaces of their own."""
    radius, tall = rng.uniform(0.28, 0.48), rng.uniform(0.55, 1.0)
    wall, taper = rng.uniform(0.02, 0.06), rng.uniform(0.65, 1.15)
    belly = rng.uniform(-0.03, 0.08)
    heights = np.linspace(0, tall, 6)

    def outer(y: float) -> float:
        return radius * (taper + (1 - taper) * y / tall) + belly * np.sin(np.pi * y / tall)

    floor = rng.uniform(0.03, 0.1)
    outside = [(outer(y), y) for y in heights]
    inside = [(outer(y) - wall, y) for y in heights[::-1] if y > floor]
    bottom = outer(floor) - wall
    pieces: Pieces = [("cup", lathe([(0, 0), *outside, *inside, (bottom, floor), (0, floor)]))]
    reach, low, high = rng.uniform(0.15, 0.32), rng.uniform(0.12, 0.3) * tall, rng.uniform(0.68, 0.9) * tall
    thick = rng.uniform(0.025, 0.06)
    turns = np.linspace(-np.pi / 2, np.pi / 2, 13)
    style = rng.uniform(0.35, 1.0)
    x = reach * np.sign(np.cos(turns)) * np.abs(np.cos(turns)) ** style
    y = (low + high) / 2 + (high - low) / 2 * np.sign(np.sin(turns)) * np.abs(np.sin(turns)) ** style
    start = np.array([outer(height) - wall * 0.6 for height in y])
    pieces.append(("handle", tube(np.stack([start + x, y, np.zeros(13)], 1), thick)))
    return pieces


def lamp(rng: np.random.Generator) -> Pieces:
    """Table and floor lamps with a shade, desk lamps with an arm, pendants, torches towards the ceiling."""
    style = rng.choice(["table", "floor", "desk", "pendant"], p=[0.33, 0.27, 0.2, 0.2])
    if style == "desk":
        return _desk_lamp(rng)
    if style == "pendant":
        return _pendant(rng)
    tall = rng.uniform(0.45, 0.8) if style == "table" else rng.uniform(1.3, 1.9)
    foot = rng.uniform(0.1, 0.2) if style == "table" else rng.uniform(0.14, 0.24)
    shade_wide, shade_tall = rng.uniform(0.16, 0.34), rng.uniform(0.16, 0.36)
    pieces: Pieces = []
    if style == "floor" and rng.random() < 0.3:
        for turn in np.arange(3) * 2 * np.pi / 3:
            pieces.append(("base", cylinder((0.3 * np.cos(turn), 0, 0.3 * np.sin(turn)), (0, tall * 0.8, 0), 0.016)))
    elif style == "table" and rng.random() < 0.5:
        bulge = rng.uniform(0.06, 0.17)
        height = tall * rng.uniform(0.5, 0.75)
        profile = [
            (0, 0),
            (foot * 0.7, 0),
            *((0.03 + bulge * np.sin(np.pi * t) ** rng.uniform(0.6, 1.5), height * t) for t in np.linspace(0.05, 1, 9)),
        ]
        pieces.append(("base", lathe([*profile, (0, height)])))
    elif rng.random() < 0.3:
        pieces.append(("base", box((2 * foot, 0.03, 2 * foot), (0, 0.015, 0))))
    else:
        pieces.append(("base", lathe([(0, 0), (foot, 0), (foot, 0.02), (foot * 0.3, rng.uniform(0.03, 0.08)), (0, 0.06)])))
    pieces.append(("pole", cylinder((0, 0.01, 0), (0, tall + shade_tall * 0.3, 0), rng.uniform(0.01, 0.022))))
    pieces.append(("shade", _shade(rng, shade_wide, shade_tall).moved(offset=(0, tall, 0))))
    return pieces


def _shade(rng: np.random.Generator, wide: float, tall: float) -> Solid:
    """A shade that is open below, or a bowl that is open above; inside and outside are surfaces of their own."""
    narrow = wide * rng.uniform(0.3, 1.0)
    if rng.random() < 0.15:
        return superellipsoid((wide, tall * 0.7, wide), (0, tall / 2, 0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.15:
        return lathe([(0, 0), (narrow * 0.5, 0), (wide, tall), (wide - 0.012, tall), (narrow * 0.5 - 0.01, 0.02), (0, 0.02)])
    return lathe([(0.0, tall - 0.02), (narrow - 0.012, tall - 0.02), (wide - 0.012, 0), (wide, 0), (narrow, tall), (0, tall)])


def _desk_lamp(rng: np.random.Generator) -> Pieces:
    foot = rng.uniform(0.1, 0.16)
    first, second = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.45)
    lean, bend = rng.uniform(-0.5, 0.1), rng.uniform(0.7, 1.6)
    elbow = np.array([0, 0.03 + first * np.cos(lean), first * np.sin(lean)])
    head = elbow + second * np.array([0, np.cos(lean + bend), np.sin(lean + bend)])
    radius = rng.uniform(0.009, 0.018)
    pieces: Pieces = [("base", lathe([(0, 0), (foot, 0), (foot * 0.95, 0.03), (0, 0.035)]))]
    pieces += [("pole", cylinder((0, 0.03, 0), elbow, radius)), ("pole", cylinder(elbow, head, radius))]
    shade = _shade(rng, rng.uniform(0.07, 0.13), rng.uniform(0.1, 0.18))
    pieces.append(("shade", shade.moved(rotation(0, -rng.uniform(0.2, 0.8)), head - [0, 0.1, 0])))
    return pieces


def _pendant(rng: np.random.Generator) -> Pieces:
    wide, tall, cord = rng.uniform(0.15, 0.4), rng.uniform(0.12, 0.4), rng.uniform(0.3, 1.0)
    pieces: Pieces = [("shade", _shade(rng, wide, tall))]
    pieces.append(("pole", cylinder((0, tall * 0.9, 0), (0, tall + cord, 0), rng.uniform(0.008, 0.016))))
    pieces.append(
        (
            "canopy",
            lathe(
                [(0, tall + cord), (0.04, tall + cord), (rng.uniform(0.06, 0.12), tall + cord + 0.03), (0, tall + cord + 0.035)]
            ),
        )
    )
    return pieces


def guitar(rng: np.random.Generator) -> Pieces:
    """Acoustic and electric guitars, upright, the strings towards +z."""
    is_acoustic = rng.random() < 0.55
    long, thick = rng.uniform(0.75, 1.0), rng.uniform(0.16, 0.26) if is_acoustic else rng.uniform(0.06, 0.12)
    low, high, waist = rng.uniform(0.33, 0.42), rng.uniform(0.24, 0.33), rng.uniform(0.62, 0.85)
    turns = np.arange(48) * 2 * np.pi / 48
    height = -np.cos(turns) * long / 2
    share = (height / long) + 0.5
    pinch = 1 - (1 - waist) * np.exp(-(((share - 0.56) / 0.13) ** 2))
    half = (low * (1 - share) + high * share) * pinch * np.abs(np.sin(turns)) ** 0.65
    if not is_acoustic:
        horns = rng.uniform(0.1, 0.3)
        height = height + horns * np.exp(-(((np.abs(np.sin(turns)) - 0.75) / 0.2) ** 2)) * (share > 0.75)
    outline = np.stack([np.sign(np.sin(turns)) * half, height], 1)
    body = prism(outline, thick)
    pieces: Pieces = [("body", body.moved(rotation(0, np.pi / 2) @ np.diag([1.0, -1.0, -1.0])))]
    front, neck_tall = thick / 2, rng.uniform(0.75, 1.0)
    wide = rng.uniform(0.05, 0.075)
    top = long / 2 + neck_tall
    pieces.append(("neck", box((wide, neck_tall + 0.25 * long, 0.05), (0, (long / 2 + top) / 2 - 0.12 * long, front * 0.8))))
    head_tall, head_wide = rng.uniform(0.16, 0.28), rng.uniform(0.1, 0.16)
    pieces.append(("head", box((head_wide, head_tall, 0.03), (0, top + head_tall / 2, front * 0.7), rng.uniform(0.7, 1.3))))
    for side in (-1, 1) if rng.random() < 0.6 else (1,):
        for y in np.linspace(0.2, 0.8, 3):
            at = np.array([side * head_wide / 2, top + head_tall * y, front * 0.7])
            pieces.append(("head", cylinder(at, at + [side * 0.05, 0, 0], 0.012, sides=8)))
    pieces.append(("body", box((0.2, 0.03, 0.03), (0, -long * rng.uniform(0.15, 0.25), front + 0.01))))
    return pieces


def knife(rng: np.random.Generator) -> Pieces:
    """Kitchen and table knives, daggers and cleavers, lying along x."""
    blade, tall, thick = rng.uniform(0.7, 1.3), rng.uniform(0.08, 0.3), rng.uniform(0.01, 0.03)
    style = rng.choice(["straight", "curved", "dagger", "cleaver"], p=[0.35, 0.3, 0.2, 0.15])
    steps = np.linspace(0, 1, 12)
    upper = {"dagger": tall / 2 * (1 - steps**3), "cleaver": np.full(12, tall * 0.6)}.get(
        style, tall / 2 * (1 - 0.7 * steps ** rng.uniform(3, 8))
    )
    lower = {"dagger": -upper, "cleaver": np.full(12, -tall * 0.6)}.get(
        style, -tall / 2 * (1 - steps ** rng.uniform(1.5, 6)) + (upper[-1] * steps**8)
    )
    rings = []
    for x, a, b in zip(steps * blade, lower, upper, strict=True):
        b = max(b, a + 0.004)
        edge = np.array([[0, a], [thick / 2, (a + 2 * b) / 3], [thick / 2, b], [-thick / 2, b], [-thick / 2, (a + 2 * b) / 3]])
        rings.append(np.stack([np.full(5, x), edge[:, 1], edge[:, 0]], 1)[::-1])
    pieces: Pieces = [("blade", loft(rings))]
    long, grip = rng.uniform(0.35, 0.6), rng.uniform(0.04, 0.07)
    soft = rng.uniform(0.2, 0.6)
    pieces.append(("handle", superellipsoid((long / 2, grip, grip * 0.6), (-long / 2, 0, 0), soft, soft)))
    if style == "dagger" or rng.random() < 0.25:
        pieces.append(("handle", box((0.04, tall * rng.uniform(1.2, 1.8), 0.06), (0, 0, 0))))
    return pieces


def cap(rng: np.random.Generator) -> Pieces:
    """Baseball caps, flat caps and helmets with a peak."""
    wide, deep, tall = rng.uniform(0.48, 0.56), rng.uniform(0.52, 0.64), rng.uniform(0.32, 0.6)
    wall = rng.uniform(0.01, 0.03)
    arc = np.linspace(0, np.pi / 2, 9)
    shape = rng.uniform(0.6, 1.0)
    outer = [(np.cos(a) ** shape, np.sin(a)) for a in arc]
    inner = [(r * (1 - 2 * wall), y * (1 - 2 * wall)) for r, y in outer[::-1]]
    dome = lathe([(0.0, inner[0][1]), *inner, *outer])
    scale = np.diag([wide, tall, deep])
    pieces: Pieces = [("panels", Solid(dome.vertices @ scale, dome.faces))]
    reach, droop, half = rng.uniform(0.3, 0.55), rng.uniform(0.0, 0.3), rng.uniform(0.65, 0.95)
    thick = rng.uniform(0.012, 0.03)
    angles = np.linspace(-1, 1, 15) * half
    rows = []
    for t in np.linspace(0, 1, 5):
        far = deep + reach * t * np.cos(angles / half * np.pi / 2) ** 0.7
        x = np.sin(angles) * (wide + 0.15 * t)
        y = -droop * reach * t * (0.4 + (angles / half) ** 2)
        rows.append(np.stack([x, y, np.cos(angles) * deep + far - deep], 1))
    sheet = np.concatenate([*rows])
    pieces.append(("peak", _thick_sheet(sheet.reshape(5, 15, 3), thick)))
    if rng.random() < 0.6:
        pieces.append(("panels", superellipsoid((0.03, 0.02, 0.03), (0, tall + 0.005, 0))))
    return pieces


def _thick_sheet(grid: np.ndarray, thick: float) -> Solid:
    """A grid of points [R, C, 3] as a sheet with a top and a bottom."""
    rows, columns, _ = grid.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    top = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    count = rows * columns
    vertices = np.concatenate([grid.reshape(-1, 3) + [0, thick / 2, 0], grid.reshape(-1, 3) - [0, thick / 2, 0]])
    return Solid(vertices, np.concatenate([top, top[:, ::-1] + count]))


def laptop(rng: np.random.Generator) -> Pieces:
    """Laptops, the screen opened by 60 to 160 degrees."""
    wide, deep = rng.uniform(1.0, 1.4), rng.uniform(0.7, 0.95)
    base, lid = rng.uniform(0.03, 0.09), rng.uniform(0.015, 0.05)
    pieces: Pieces = [("keyboard", box((wide, base, deep), (0, base / 2, 0)))]
    if rng.random() < 0.6:
        rows = rng.integers(3, 6)
        for z in np.linspace(-0.32, 0.05, rows) * deep:
            pieces.append(("keyboard", box((wide * 0.85, 0.012, deep * 0.06), (0, base + 0.006, z))))
    turn = rotation(0, -(rng.uniform(np.radians(60), np.radians(160)) - np.pi / 2))
    tall = deep * rng.uniform(0.92, 1.02)
    panel = box((wide * rng.uniform(0.96, 1.0), tall, lid), (0, tall / 2, 0))
    pieces.append(("screen", panel.moved(turn, (0, base, -deep / 2))))
    if rng.random() < 0.5:
        frame = box((wide * 0.88, tall * 0.84, lid * 0.4), (0, tall * 0.52, lid / 2))
        pieces.append(("screen", frame.moved(turn, (0, base, -deep / 2))))
    return pieces


def monitor(rng: np.random.Generator) -> Pieces:
    """Flat screens on a foot, two legs or a bracket, and the older deep ones."""
    wide, tall = rng.uniform(0.9, 1.6), rng.uniform(0.6, 0.95)
    is_deep = rng.random() < 0.2
    thick = rng.uniform(0.04, 0.14)
    lift = rng.uniform(0.12, 0.45)
    tilt = rotation(0, rng.uniform(-0.15, 0.15))
    center = (0.0, lift + tall / 2, 0.0)
    pieces: Pieces = [("screen", box((wide, tall, thick)).moved(tilt, center))]
    if rng.random() < 0.6:
        edge = rng.uniform(0.02, 0.05)
        for side in (-1, 1):
            pieces.append(("screen", box((edge, tall, thick + 0.04), (side * (wide - edge) / 2, 0, 0)).moved(tilt, center)))
            pieces.append(("screen", box((wide, edge, thick + 0.04), (0, side * (tall - edge) / 2, 0)).moved(tilt, center)))
    if is_deep:
        back = box((wide * 0.95, rng.uniform(0.4, 0.9), tall * 0.95), taper=rng.uniform(0.4, 0.7)).moved(
            rotation(0, -np.pi / 2)
        )
        pieces.append(("screen", back.moved(tilt, (0, lift + tall / 2, -0.4))))
        pieces.append(("stand", cylinder((0, 0, -0.2), (0, lift, -0.2), 0.35, 0.2)))
        return pieces
    style = rng.choice(["foot", "oval", "legs", "v"])
    z = -thick / 2 - 0.02
    pieces.append(("stand", box((rng.uniform(0.06, 0.3), lift + tall * 0.3, 0.04), (0, (lift + tall * 0.3) / 2, z))))
    if style == "foot":
        pieces.append(("stand", box((wide * rng.uniform(0.3, 0.6), 0.03, rng.uniform(0.25, 0.45)), (0, 0.015, 0))))
    elif style == "oval":
        pieces.append(("stand", prism(ellipse(wide * rng.uniform(0.2, 0.32), 0.2), 0.03, (0, 0.015, 0))))
    elif style == "legs":
        pieces += [("stand", box((0.05, 0.04, 0.45), (side * wide * 0.3, 0.02, 0))) for side in (-1, 1)]
        pieces.append(("stand", box((wide * 0.62, 0.03, 0.05), (0, 0.02, z))))
    else:
        pieces += [("stand", cylinder((0, 0.03, z), (side * 0.3, 0.015, 0.2), 0.025)) for side in (-1, 1)]
    return pieces
