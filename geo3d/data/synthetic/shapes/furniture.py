"""Tables, sofas, bathtubs and toilets. Each function draws one object as (part, solid) pairs, y up, front towards +z."""

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
    ring_of,
    rotation,
    rounded_path,
    superellipsoid,
    tube,
)


def table(rng: np.random.Generator) -> Pieces:
    """Rectangular, round and oval tables on legs, pedestals, trestles or panels, desks with drawers, tables with a shelf."""
    wide, deep = rng.uniform(0.5, 1.8), rng.uniform(0.45, 0.9)
    tall, thick = rng.uniform(0.28, 0.85), rng.uniform(0.015, 0.08)
    shape = rng.choice(["box", "round", "oval", "soft"], p=[0.55, 0.2, 0.1, 0.15])
    if shape == "round":
        wide = deep = rng.uniform(0.5, 1.2)
    outline = ellipse(wide / 2, deep / 2, 32, {"round": 1.0, "oval": 1.0, "soft": 0.35, "box": 0.0}[shape])
    if shape == "box":
        pieces: Pieces = [("top", box((wide, thick, deep), (0, tall, 0)))]
    else:
        pieces = [("top", prism(outline, thick, (0, tall, 0), rng.uniform(0.95, 1.0)))]
    under = tall - thick / 2
    inset = 0.68 if shape in ("round", "oval") else rng.uniform(0.85, 0.97)
    x, z, radius = wide / 2 * inset - 0.03, deep / 2 * inset - 0.03, rng.uniform(0.012, 0.05)
    style = rng.choice(["legs", "pedestal", "trestle", "panels", "frame"], p=[0.45, 0.2, 0.12, 0.13, 0.1])
    if style == "legs":
        pieces += _table_legs(rng, x, z, under, radius)
    elif style == "pedestal":
        foot = rng.uniform(0.4, 0.7) * min(wide, deep) / 2
        if rng.random() < 0.5:
            profile = [(0, 0), (foot, 0), (foot, 0.02), (0.05, 0.06), (0.04, under * 0.8), (0.12, under), (0, under)]
            pieces.append(("leg", lathe(profile)))
        else:
            pieces.append(("leg", cylinder((0, 0.05, 0), (0, under, 0), rng.uniform(0.03, 0.07))))
            for turn in np.arange(4) * np.pi / 2 + 0.4:
                pieces.append(("leg", cylinder((0, 0.12, 0), (foot * np.cos(turn), 0.015, foot * np.sin(turn)), 0.03, 0.015)))
    elif style == "trestle":
        for a in (-x, x):
            pieces += [("leg", cylinder((a, 0, b * z), (a, under, -b * z * 0.3), radius)) for b in (-1, 1)]
        pieces.append(("support", box((2 * x, 0.05, 0.03), (0, under * 0.55, 0))))
    elif style == "panels":
        pieces += [("leg", box((2 * radius, under, deep * 0.9), (a * x, under / 2, 0))) for a in (-1, 1)]
        if rng.random() < 0.5:
            pieces.append(("support", box((2 * x, under * 0.4, 0.02), (0, under * 0.75, -z * 0.8))))
    else:
        for a in (-x, x):
            path = np.array([[a, under, z], [a, radius, z], [a, radius, -z], [a, under, -z]])
            pieces.append(("leg", tube(rounded_path(path, 0.03), radius * 0.7)))
    if style == "legs" and rng.random() < 0.3:
        pieces.append(("support", box((2 * x, 0.02, 2 * z), (0, under * rng.uniform(0.2, 0.5), 0))))
    if style in ("legs", "panels") and rng.random() < 0.3 and tall > 0.5:
        drawer = min(0.4, wide * 0.3)
        low = rng.uniform(0.2, 0.9) * under
        side = rng.choice([-1, 1])
        pieces.append(("support", box((drawer, low, deep * 0.8), (side * (x - drawer / 2 - radius), under - low / 2, 0))))
    return pieces


def _table_legs(rng: np.random.Generator, x: float, z: float, height: float, radius: float) -> Pieces:
    splay = rng.uniform(0, 0.1) if rng.random() < 0.35 else 0.0
    is_square = rng.random() < 0.5
    pieces: Pieces = []
    for a in (-1, 1):
        for b in (-1, 1):
            if is_square:
                pieces.append(("leg", box((2 * radius, height, 2 * radius), (a * x, height / 2, b * z), rng.uniform(1.0, 1.3))))
            else:
                foot = (a * (x + splay), 0, b * (z + splay))
                pieces.append(("leg", cylinder(foot, (a * x, height, b * z), radius * 0.6, radius)))
    if rng.random() < 0.4:
        pieces += [("support", box((2 * x, 0.06, 0.02), (0, height - 0.03, b * z))) for b in (-1, 1)]
    return pieces


def sofa(rng: np.random.Generator) -> Pieces:
    """Sofas with and without arms, corner sofas, loose cushions, legs or a plinth."""
    seats = rng.integers(2, 5)
    wide, deep = seats * rng.uniform(0.5, 0.72), rng.uniform(0.7, 1.0)
    low, seat_tall = rng.uniform(0.04, 0.16), rng.uniform(0.18, 0.34)
    back_tall, back_thick = rng.uniform(0.3, 0.6), rng.uniform(0.12, 0.28)
    soft = rng.uniform(0.12, 0.5)

    def block(size: tuple[float, float, float], center: tuple[float, float, float]) -> Solid:
        return superellipsoid(np.asarray(size) / 2, center, soft, soft) if rng.random() < 0.6 else box(size, center)

    seat_top = low + seat_tall
    pieces: Pieces = [("seat", box((wide, seat_tall * 0.6, deep), (0, low + seat_tall * 0.3, 0)))]
    cushion = wide / seats
    for i in range(seats):
        x = (i + 0.5) * cushion - wide / 2
        pieces.append(
            (
                "seat",
                block((cushion * 0.98, seat_tall * 0.45, deep - back_thick), (x, seat_top - seat_tall * 0.2, back_thick / 2)),
            )
        )
    lean = rotation(0, -rng.uniform(0, 0.25))
    at = (0, low + seat_tall * 0.6, -deep / 2 + back_thick / 2)
    if rng.random() < 0.5:
        pieces.append(("back", block((wide, back_tall, back_thick), (0, back_tall / 2, 0)).moved(lean, at)))
    else:
        for i in range(seats):
            x = (i + 0.5) * cushion - wide / 2
            pieces.append(("back", block((cushion * 0.98, back_tall, back_thick), (x, back_tall / 2, 0)).moved(lean, at)))
    if rng.random() < 0.78:
        arm_wide, arm_tall = rng.uniform(0.08, 0.28), rng.uniform(0.1, 0.32)
        is_round = rng.random() < 0.35
        for side in (-1, 1):
            x = side * (wide + arm_wide) / 2
            pieces.append(("arm", box((arm_wide, seat_top + arm_tall - low, deep), (x, (seat_top + arm_tall + low) / 2, 0))))
            if is_round:
                y = seat_top + arm_tall
                pieces.append(("arm", cylinder((x, y, -deep / 2), (x, y, deep / 2), arm_wide * 0.62)))
    if rng.random() < 0.2:
        side = rng.choice([-1, 1])
        long = rng.uniform(0.5, 0.9)
        pieces.append(
            ("seat", box((cushion, seat_tall, long), (side * (wide - cushion) / 2, low + seat_tall / 2, (deep + long) / 2)))
        )
    if low > 0.06:
        x, z, radius = wide / 2 - 0.06, deep / 2 - 0.06, rng.uniform(0.015, 0.04)
        pieces += [
            ("leg", cylinder((a * x, 0, b * z), (a * x, low, b * z), radius * 0.7, radius)) for a in (-1, 1) for b in (-1, 1)
        ]
    return pieces


def bathtub(rng: np.random.Generator) -> Pieces:
    """Built-in, oval free-standing, claw-foot and corner tubs; their hollow is a second surface inside the first."""
    long, wide, tall = rng.uniform(1.3, 2.0), rng.uniform(0.65, 0.95), rng.uniform(0.4, 0.65)
    style = rng.choice(["built", "oval", "claw", "corner"], p=[0.45, 0.25, 0.18, 0.12])
    rim = rng.uniform(0.03, 0.14)
    depth = tall * rng.uniform(0.65, 0.92)
    if style == "corner":
        wide = long * rng.uniform(0.75, 1.0)
    outer_exponent = {
        "built": 0.08,
        "oval": rng.uniform(0.6, 1.0),
        "claw": rng.uniform(0.5, 0.9),
        "corner": rng.uniform(0.3, 0.6),
    }[style]
    inner_exponent = max(outer_exponent, rng.uniform(0.2, 0.9))
    shrink = 1.0 if style == "built" else rng.uniform(0.6, 0.9)
    lift = rng.uniform(0.08, 0.18) if style == "claw" else 0.0
    flare = rng.uniform(0.02, 0.06) if style != "built" and rng.random() < 0.6 else 0.0
    pieces: Pieces = [
        (
            "basin",
            _basin(long, wide, tall, rim, depth, outer_exponent, inner_exponent, shrink, flare, rng).moved(offset=(0, lift, 0)),
        )
    ]
    if style == "claw":
        for a in (-1, 1):
            for b in (-1, 1):
                top = (a * long * 0.3, lift + 0.06, b * wide * 0.27)
                pieces.append(
                    (
                        "foot",
                        tube(
                            np.array(
                                [top, (a * long * 0.36, lift * 0.6, b * wide * 0.33), (a * long * 0.33, 0, b * wide * 0.3)]
                            ),
                            0.035,
                        ),
                    )
                )
    if rng.random() < 0.25:
        x = -long / 2 + rim * 0.5
        path = np.array([[x, tall + lift, 0], [x, tall + lift + 0.14, 0], [x + 0.12, tall + lift + 0.15, 0]])
        pieces.append(("tap", tube(rounded_path(path, 0.03), 0.015)))
    return pieces


def _basin(
    long: float, wide: float, tall: float, rim: float, depth: float, outer: float, inner: float, shrink: float, flare: float,
    rng: np.random.Generator,
) -> Solid:  # fmt: skip
    """A vessel as one surface: up the outside, over the rim, down the inside."""

    def ring(half_x: float, half_z: float, y: float, exponent: float, shift: float = 0.0) -> np.ndarray:
        flat = ellipse(half_x, half_z, 40, exponent)
        return np.stack([flat[:, 0] + shift, np.full(40, y), flat[:, 1]], 1)

    slope = rng.uniform(0.55, 0.95)
    shift = rng.uniform(0, 0.08) * long
    half_x, half_z = long / 2, wide / 2
    rings = [
        ring(half_x * shrink, half_z * shrink, 0, outer),
        ring(half_x * (1 + shrink) / 2, half_z * (1 + shrink) / 2, tall * 0.5, outer),
        ring(half_x, half_z, tall - 0.03, outer),
        ring(half_x + flare, half_z + flare, tall, outer),
        ring(half_x - rim, half_z - rim, tall, inner),
        ring((half_x - rim) * (1 + slope) / 2, (half_z - rim) * (1 + slope) / 2, tall - depth * 0.5, inner, shift / 2),
        ring((half_x - rim) * slope, (half_z - rim) * slope, tall - depth, inner, shift),
    ]

    return loft(rings)


def toilet(rng: np.random.Generator) -> Pieces:
    """Floor-standing and wall-hung toilets, with a tank or without, the lid open, closed or away."""
    long, wide, height = rng.uniform(0.4, 0.56), rng.uniform(0.34, 0.42), rng.uniform(0.36, 0.46)
    exponent = rng.uniform(0.6, 1.0)
    front = rng.uniform(1.0, 1.3)

    def oval(scale: float, y: float, shift: float = 0.0) -> np.ndarray:
        flat = ellipse(wide / 2 * scale, long / 2 * scale, 32, exponent)
        flat[:, 1] = np.where(flat[:, 1] > 0, flat[:, 1] * front, flat[:, 1])
        return np.stack([flat[:, 0], np.full(32, y), flat[:, 1] + shift], 1)

    depth, neck = rng.uniform(0.12, 0.24), rng.uniform(0.35, 0.75)
    bowl_low = height * rng.uniform(0.3, 0.5)
    back = -long * rng.uniform(0.05, 0.15)
    bowl = [oval(neck, bowl_low, back), oval(0.85, height * 0.75, back / 2), oval(1.0, height - 0.02), oval(1.0, height)]
    bowl += [oval(0.78, height), oval(0.66, height - depth / 2), oval(0.3, height - depth)]
    pieces: Pieces = [("bowl", loft(bowl))]
    if rng.random() < 0.85:
        foot = rng.uniform(neck, 0.95)
        pieces.append(("foot", loft([oval(foot, 0, back), oval(foot * 0.95, 0.04, back), oval(neck, bowl_low, back)])))
    if rng.random() < 0.6:
        pieces.append(
            ("foot", box((wide * rng.uniform(0.4, 0.9), height * 0.95, long * 0.3), (0, height * 0.475, -long * 0.5)))
        )
    seat_thick = rng.uniform(0.015, 0.04)
    pieces.append(("seat", ring_of(oval(1.02, 0), oval(0.72, 0), seat_thick).moved(offset=(0, height, 0))))
    lid = rng.choice(["open", "closed", "none"], p=[0.45, 0.35, 0.2])
    if lid != "none":
        cover = loft([oval(1.02, 0), oval(1.0, 0.02)])
        hinge = -long / 2
        if lid == "open":
            cover = cover.moved(offset=(0, 0, -hinge)).moved(
                rotation(0, -rng.uniform(1.5, 1.85)), (0, height + seat_thick, hinge + 0.02)
            )
        else:
            cover = cover.moved(offset=(0, height + seat_thick, 0))
        pieces.append(("seat", cover))
    if rng.random() < 0.85:
        tank_wide, tank_tall, tank_deep = rng.uniform(0.36, 0.54), rng.uniform(0.28, 0.42), rng.uniform(0.14, 0.24)
        z, y = -long / 2 - tank_deep / 2 + 0.02, height + tank_tall / 2 - rng.uniform(0.0, 0.1)
        if rng.random() < 0.4:
            pieces.append(("tank", superellipsoid((tank_wide / 2, tank_tall / 2, tank_deep / 2), (0, y, z), 0.2, 0.25)))
        else:
            pieces.append(("tank", box((tank_wide, tank_tall, tank_deep), (0, y, z), rng.uniform(1.0, 1.15))))
        pieces.append(("tank", box((tank_wide * 1.12, 0.03, tank_deep * 1.15), (0, y + tank_tall / 2 + 0.015, z))))
    return pieces
