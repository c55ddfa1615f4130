"""Bathtubs and toilets as (part, solid) pairs, y up; tubs lie along z, toilets face +z."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geo3d.data.synthetic.shapes.primitives import (
    Pieces,
    Solid,
    box,
    cylinder,
    ellipse,
    loft,
    ring_of,
    rotation,
    rounded_path,
    superellipsoid,
    tube,
)

SIDES = 40  # of a basin
Oval = Callable[..., np.ndarray]  # (scale, y, shift along z = 0) -> ring [K, 3] in the outline of a bowl


def bathtub(rng: np.random.Generator) -> Pieces:
    """Built-in, oval free-standing, claw-foot and corner tubs and tubs to be let into a floor.

    Their hollow is a second surface inside the first; many have no bottom, as models of them often have none.
    """
    long, wide = rng.uniform(1.2, 2.0), rng.uniform(0.62, 0.98)
    tall = rng.uniform(0.38, 0.72) if rng.random() < 0.75 else rng.uniform(0.6, 0.95)
    style = str(rng.choice(["built", "oval", "claw", "corner", "inset"], p=[0.42, 0.22, 0.14, 0.1, 0.12]))
    if style == "corner":
        wide = long * rng.uniform(0.75, 1.0)
    rim = rng.uniform(0.02, 0.16) * wide
    lift = rng.uniform(0.06, 0.18) if style == "claw" else 0.0
    pieces: Pieces = [("basin", _basin(rng, style, long, wide, tall, rim).moved(offset=(0, lift, 0)))]
    if style == "claw":
        for a in (-1, 1):
            for b in (-1, 1):
                path = [[a, lift + 0.08, b], [a * 1.2, lift * 0.6, b * 1.2], [a * 1.05, 0.0, b * 1.05]]
                reach = np.array([wide * 0.26, 1, long * 0.29])
                pieces.append(("foot", tube(np.array(path) * reach, rng.uniform(0.025, 0.04))))
    if style == "built":
        pieces += _built_in_details(rng, long, wide, tall, rim)
    return pieces + _taps(rng, long, wide, tall + lift, rim)


def _basin(rng: np.random.Generator, style: str, long: float, wide: float, tall: float, rim: float) -> Solid:
    """A vessel as one surface: up the outside, over the rim, down the inside."""
    outer = {"built": 0.06, "oval": rng.uniform(0.55, 1.0), "claw": rng.uniform(0.5, 0.9), "corner": rng.uniform(0.3, 0.6)}.get(
        style, rng.uniform(0.06, 1.0)
    )
    inner = max(outer, rng.choice([0.12, rng.uniform(0.2, 0.9)]))
    shrink = 1.0 if style == "built" else rng.uniform(0.6, 0.85 if style == "claw" else 1.0)
    slope = rng.uniform(0.88, 1.0) if rng.random() < 0.5 else rng.uniform(0.55, 0.9)  # steep walls, or slanted ones
    shift = rng.uniform(-0.08, 0.08) * long if slope < 0.9 else 0.0
    depth = tall * rng.uniform(0.62, 0.97)
    lip = 0.0 if rng.random() < 0.4 else rng.uniform(0.01, 0.05)
    overhang = rng.uniform(0.03, 0.16) * wide if style == "inset" or (style != "built" and rng.random() < 0.5) else 0.0
    thick = rng.uniform(0.015, 0.06)
    x, z = wide / 2, long / 2

    def ring(half_x: float, half_z: float, y: float, exponent: float, along: float = 0.0) -> np.ndarray:
        flat = ellipse(half_x, half_z, SIDES, exponent)
        return np.stack([flat[:, 0], np.full(SIDES, y), flat[:, 1] + along], 1)

    def between(share: float) -> float:
        return 1 + (shrink - 1) * share**1.5

    rings = [ring(x * between(share), z * between(share), tall * (1 - share), outer) for share in (1.0, 0.5, 0.2)]
    rings += [ring(x, z, tall - thick, outer)]
    if overhang:
        rings += [ring(x + overhang, z + overhang, tall - thick, outer)]
    rings += [ring(x + overhang, z + overhang, tall, outer), ring(x - rim, z - rim, tall, inner)]
    if lip:
        rings += [ring(x - rim - lip, z - rim - lip, tall - lip, inner)]
    floor = 1 if rng.random() < 0.6 else 0.9  # below 1 the edge of the floor is rounded
    for share in (0.5, 0.85, 1.0):
        narrow = 1 + (slope - 1) * share
        y = tall - lip - (depth - lip) * share
        rings.append(ring((x - rim - lip) * narrow, (z - rim - lip) * narrow, y, inner, shift * share))
    bottom = rings[-1].copy()
    bottom[:, [0, 2]] = (bottom[:, [0, 2]] - [0, shift]) * floor * 0.9 + [0, shift]
    rings.append(bottom - [0, (1 - floor) * 0.2, 0])
    return loft(rings, has_bottom=bool(rng.random() < 0.55))


def _built_in_details(rng: np.random.Generator, long: float, wide: float, tall: float, rim: float) -> Pieces:
    """Steps to sit on inside, panels and posts outside, an edge against the wall."""
    pieces: Pieces = []
    if rng.random() < 0.2:
        deep, high = rng.uniform(0.2, 0.4) * long, rng.uniform(0.3, 0.6) * tall
        pieces.append(("basin", box(((wide - 2 * rim) * 0.9, high, deep), (0, high / 2 + 0.02, (long - deep) / 2 - rim))))
    if rng.random() < 0.25:
        post = rng.uniform(0.03, 0.08)
        for a in (-1, 1):
            pieces += [("basin", box((post, tall, post), (a * wide / 2, tall / 2, b * long / 2))) for b in (-1, 1)]
            pieces.append(("basin", box((0.02, tall * 0.7, long * 0.9), (a * wide / 2, tall / 2, 0))))
    if rng.random() < 0.2:
        pieces.append(("basin", box((0.03, rng.uniform(0.05, 0.12), long), (-wide / 2 + 0.015, tall + 0.03, 0))))
    if rng.random() < 0.15:
        pieces.append(("basin", box((wide * 1.15, 0.06, long * 1.08), (0, 0.03, 0))))
    return pieces


def _taps(rng: np.random.Generator, long: float, wide: float, top: float, rim: float) -> Pieces:
    pieces: Pieces = []
    z = -long / 2 + rim * 0.5
    if rng.random() < 0.35:
        path = np.array(
            [[0, top - 0.02, z], [0, top + rng.uniform(0.06, 0.16), z], [0, top + 0.1, z + rng.uniform(0.08, 0.15)]]
        )
        pieces.append(("tap", tube(rounded_path(path, 0.03), rng.uniform(0.012, 0.022))))
        if rng.random() < 0.6:
            pieces += [("tap", cylinder((a, top - 0.01, z), (a, top + 0.06, z), 0.022)) for a in (-0.12, 0.12)]
    if rng.random() < 0.15:
        path = np.array(
            [[wide / 2, top, -0.2], [wide / 2, top + 0.09, -0.2], [wide / 2, top + 0.09, 0.2], [wide / 2, top, 0.2]]
        )
        pieces.append(("tap", tube(rounded_path(path, 0.05), 0.014)))
    return pieces


def toilet(rng: np.random.Generator) -> Pieces:
    """Floor-standing and wall-hung toilets, with a tank or without, the lid open, closed or away."""
    long, wide, height = rng.uniform(0.4, 0.6), rng.uniform(0.33, 0.46), rng.uniform(0.34, 0.48)
    exponent, front = rng.uniform(0.6, 1.0), rng.uniform(1.0, 1.3)

    def oval(scale: float, y: float, shift: float = 0.0) -> np.ndarray:
        flat = ellipse(wide / 2 * scale, long / 2 * scale, 32, exponent)
        flat[:, 1] = np.where(flat[:, 1] > 0, flat[:, 1] * front, flat[:, 1])
        return np.stack([flat[:, 0], np.full(32, y), flat[:, 1] + shift], 1)

    neck, low = rng.uniform(0.3, 0.75), height * rng.uniform(0.3, 0.65)
    back = -long * rng.uniform(0.0, 0.15)
    depth = min(rng.uniform(0.12, 0.26), height - low + 0.05)
    edge = rng.uniform(0.01, 0.06)
    middle = (low + height - edge) / 2
    bowl = [oval(neck, low, back), oval((neck + 1) / 2 + rng.uniform(0, 0.15), middle, back / 2), oval(1.0, height - edge)]
    bowl += [oval(1.0, height), oval(0.78, height), oval(0.66, height - depth / 2), oval(0.3, height - depth)]
    pieces: Pieces = [("bowl", loft(bowl, has_bottom=bool(rng.random() < 0.7)))]
    pieces += _toilet_foot(rng, oval, wide, long, height, neck, low, back)
    pieces += _toilet_seat(rng, oval, long, height)
    if rng.random() < 0.85:
        pieces += _tank(rng, long, height)
    return pieces


def _toilet_foot(
    rng: np.random.Generator, oval: Oval, wide: float, long: float, height: float, neck: float, low: float, back: float
) -> Pieces:
    """A skirt or a slim column on a flat base, and the pipe or box behind; none when it hangs on the wall."""
    pieces: Pieces = []
    style = rng.choice(["skirt", "column", "hung"], p=[0.5, 0.38, 0.12])
    if style == "skirt":
        foot = rng.uniform(neck, 0.95)
        pieces.append(("foot", loft([oval(foot, 0, back), oval(foot * 0.95, 0.04, back), oval(neck, low, back)])))
    elif style == "column":
        slim, foot, base = neck * rng.uniform(0.75, 1.0), rng.uniform(0.5, 0.75), rng.uniform(0.02, 0.06)
        pieces.append(("foot", loft([oval(foot, 0, back), oval(foot, base, back), oval(foot * 0.9, base + 0.005, back)])))
        pieces.append(("foot", loft([oval(slim * 1.1, base, back), oval(slim, (base + low) / 2, back), oval(neck, low, back)])))
    if style == "hung" or rng.random() < 0.55:
        deep = long * rng.uniform(0.15, 0.35)
        size = (wide * rng.uniform(0.35, 0.9), height * (0.95 if style != "hung" else 0.5), deep)
        pieces.append(("foot", box(size, (0, height * 0.97 - size[1] / 2, -long * 0.5), rng.uniform(1.0, 1.5))))
    return pieces


def _toilet_seat(rng: np.random.Generator, oval: Oval, long: float, height: float) -> Pieces:
    thick = rng.uniform(0.012, 0.04)
    pieces: Pieces = []
    if rng.random() < 0.9:
        pieces.append(
            ("seat", ring_of(oval(1.02, 0), oval(rng.uniform(0.6, 0.75), 0), thick).moved(offset=(0, height + 0.004, 0)))
        )
    lid = rng.choice(["open", "closed", "none"], p=[0.45, 0.35, 0.2]) if pieces else "closed"
    if lid == "none":
        return pieces
    domed = rng.uniform(0.9, 1.0)
    cover = loft([oval(1.02, 0), oval(1.0, 0.015), oval(domed, rng.uniform(0.02, 0.035))])
    hinge = -long / 2
    if lid == "open":
        turn = rotation(0, -rng.uniform(1.5, 1.85))
        cover = cover.moved(offset=(0, 0, -hinge)).moved(turn, (0, height + thick, hinge + 0.02))
    else:
        cover = cover.moved(offset=(0, height + thick + 0.008, 0))
    return [*pieces, ("seat", cover)]


def _tank(rng: np.random.Generator, long: float, height: float) -> Pieces:
    wide, tall, deep = rng.uniform(0.34, 0.56), rng.uniform(0.26, 0.44), rng.uniform(0.13, 0.26)
    z, y = -long / 2 - deep / 2 + 0.02, height + tall / 2 - rng.uniform(-0.02, 0.1)
    pieces: Pieces = []
    if rng.random() < 0.4:
        pieces.append(("tank", superellipsoid((wide / 2, tall / 2, deep / 2), (0, y, z), 0.2, 0.25)))
    else:
        pieces.append(("tank", box((wide, tall, deep), (0, y, z), rng.uniform(1.0, 1.25))))
    if rng.random() < 0.85:
        pieces.append(("tank", box((wide * rng.uniform(1.05, 1.25), 0.03, deep * 1.15), (0, y + tall / 2 + 0.015, z))))
    if rng.random() < 0.3:
        at = np.array([wide * 0.35, y + tall * 0.35, z + deep / 2])
        pieces.append(("tank", cylinder(at, at + [0, 0, 0.03], 0.012)))
        pieces.append(("tank", box((0.09, 0.015, 0.015), at + [0.02, 0, 0.035])))
    return pieces
