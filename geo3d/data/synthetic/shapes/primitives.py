"""Solids that shapes are built of: meshes with outward faces that know which points lie inside them. y is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Vector = Sequence[float] | np.ndarray
Inside = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Solid:
    """A closed surface, or a shell without a bottom.

    Attributes:
        vertices: [V, 3] float64.
        faces: [F, 3] int64, counter-clockwise seen from outside.
        inside: points [N, 3] -> [N] bool, whether they lie inside; None where nobody can hide in it (thin sheets).
    """

    vertices: np.ndarray
    faces: np.ndarray
    inside: Inside | None = None

    def moved(self, rotation: np.ndarray | None = None, offset: Vector = (0, 0, 0)) -> Solid:
        """The solid turned by a rotation [3, 3] about the origin, then shifted."""
        turn = np.eye(3) if rotation is None else rotation
        shift = np.asarray(offset, dtype=float)
        inside = self.inside
        moved_inside = None if inside is None else lambda points: inside((points - shift) @ turn)
        return Solid(self.vertices @ turn.T + shift, self.faces, moved_inside)

    def mirrored(self, axis: int) -> Solid:
        """The mirror image across the plane through the origin that is perpendicular to an axis."""
        flip = np.ones(3)
        flip[axis] = -1
        inside = self.inside
        mirrored_inside = None if inside is None else lambda points: inside(points * flip)
        return Solid(self.vertices * flip, self.faces[:, ::-1], mirrored_inside)

    def deformed(self, matrix: np.ndarray, taper: float = 0.0) -> Solid:
        """The solid after a linear map [3, 3] that keeps handedness; x and z then grow by `taper` per unit of height."""
        inverse, inside = np.linalg.inv(matrix), self.inside

        def mapped_inside(points: np.ndarray) -> np.ndarray:
            assert inside is not None
            width = 1 + taper * points[:, 1:2]
            return inside(points / np.concatenate([width, np.ones_like(width), width], 1) @ inverse.T)

        vertices = self.vertices @ matrix.T
        vertices[:, [0, 2]] *= 1 + taper * vertices[:, 1:2]
        return Solid(vertices, self.faces, None if inside is None else mapped_inside)


Pieces = list[tuple[str, Solid]]  # (name of the part, solid)


def rotation(axis: int, angle: float) -> np.ndarray:
    """Rotation [3, 3] about a coordinate axis by an angle in radians."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def aligned(direction: Vector) -> np.ndarray:
    """A rotation [3, 3] that takes y to a direction."""
    y = np.asarray(direction, dtype=float)
    y = y / np.linalg.norm(y)
    helper = np.eye(3)[np.argmin(np.abs(y))]
    x = np.cross(y, helper)
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def loft(rings: Sequence[np.ndarray], inside: Inside | None = None, has_bottom: bool = True) -> Solid:
    """The surface through rings [K, 3] of equal length, with flat ends; closed unless the end at the first ring is left out."""
    count, length = len(rings), len(rings[0])
    centers = [rings[0].mean(0), rings[-1].mean(0)]
    vertices = np.concatenate([*rings, centers])
    here = np.arange(length)
    after = (here + 1) % length
    faces = []
    for ring in range(count - 1):
        a, b = ring * length + here, ring * length + after
        c, d = a + length, b + length
        faces += [np.stack([a, b, d], 1), np.stack([a, d, c], 1)]
    bottom, top = count * length, count * length + 1
    last = (count - 1) * length
    faces += [
        np.stack([after, here, np.full(length, bottom)], 1),
        np.stack([last + here, last + after, np.full(length, top)], 1),
    ]
    closed = outward(Solid(vertices, np.concatenate(faces), inside))
    return closed if has_bottom else Solid(vertices, closed.faces[:-length])


def outward(solid: Solid) -> Solid:
    """A closed surface with its faces turned outwards, whichever way they were."""
    corners = solid.vertices[solid.faces]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return solid if volume > 0 else Solid(solid.vertices, solid.faces[:, ::-1], solid.inside)


def box(size: Vector, center: Vector = (0, 0, 0), taper: float = 1.0) -> Solid:
    """A box of a size in x, y, z; its top is `taper` times as wide as its bottom."""
    hx, hy, hz = np.asarray(size, dtype=float) / 2
    square = np.array([[-hx, 0, hz], [hx, 0, hz], [hx, 0, -hz], [-hx, 0, -hz]])
    low, high = square + [0, -hy, 0], square * [taper, 1, taper] + [0, hy, 0]

    def inside(points: np.ndarray) -> np.ndarray:
        width = 1 + (taper - 1) * (points[:, 1] + hy) / (2 * hy)
        return (np.abs(points[:, 1]) < hy) & (np.abs(points[:, 0]) < hx * width) & (np.abs(points[:, 2]) < hz * width)

    return loft([low, high], inside).moved(offset=center)


def cylinder(start: Vector, end: Vector, radius: float, end_radius: float | None = None, sides: int = 20) -> Solid:
    """A cylinder, or the frustum of a cone, between two points."""
    first, last = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    radii = (radius, radius if end_radius is None else end_radius)
    length = float(np.linalg.norm(last - first))
    turns = np.arange(sides) * 2 * np.pi / sides
    circle = np.stack([np.cos(turns), np.zeros(sides), -np.sin(turns)], 1)

    def inside(points: np.ndarray) -> np.ndarray:
        along = points[:, 1] / length
        wide = radii[0] + (radii[1] - radii[0]) * along
        return (along > 0) & (along < 1) & (np.hypot(points[:, 0], points[:, 2]) < wide * np.cos(np.pi / sides))

    solid = loft([circle * max(radii[0], 1e-4), circle * max(radii[1], 1e-4) + [0, length, 0]], inside)
    return solid.moved(aligned(last - first), first)


def superellipsoid(radii: Vector, center: Vector = (0, 0, 0), vertical: float = 1.0, horizontal: float = 1.0) -> Solid:
    """An ellipsoid with exponents: 1 is round, towards 0 a box with rounded edges."""
    a, b, c = np.asarray(radii, dtype=float)
    rows, sides = 14, 28

    def power(values: np.ndarray, exponent: float) -> np.ndarray:
        return np.sign(values) * np.abs(values) ** exponent

    turns = np.arange(sides) * 2 * np.pi / sides
    rings = []
    for latitude in np.linspace(-np.pi / 2, np.pi / 2, rows):
        wide = power(np.cos(latitude), vertical)
        height = power(np.sin(latitude), vertical)
        x, z = power(np.cos(turns), horizontal), -power(np.sin(turns), horizontal)
        rings.append(np.stack([a * wide * x, np.full(sides, b * height), c * wide * z], 1))

    def inside(points: np.ndarray) -> np.ndarray:
        x, y, z = np.abs(points / [a, b, c]).T + 1e-12
        flat = (x ** (2 / horizontal) + z ** (2 / horizontal)) ** (horizontal / vertical)
        return flat + y ** (2 / vertical) < 0.97

    return loft(rings, inside).moved(offset=center)


def lathe(profile: Sequence[tuple[float, float]], center: Vector = (0, 0, 0), sides: int = 28) -> Solid:
    """A profile of (radius, height) turned about y. It starts and ends on the axis and goes up on the outside of the body."""
    outline = np.asarray(profile, dtype=float)
    turns = np.arange(sides) * 2 * np.pi / sides
    rings = [
        np.stack([r * np.cos(turns), np.full(sides, y), -r * np.sin(turns)], 1) for r, y in np.maximum(outline, [1e-6, -np.inf])
    ]

    def inside(points: np.ndarray) -> np.ndarray:
        return in_polygon(np.stack([np.hypot(points[:, 0], points[:, 2]), points[:, 1]], 1), outline)

    return loft(rings, inside).moved(offset=center)


def prism(outline: np.ndarray, thickness: float, center: Vector = (0, 0, 0), taper: float = 1.0) -> Solid:
    """A star-shaped outline [K, 2] of (x, z), counter-clockwise seen from above (+y), given a thickness along y."""
    flat = np.stack([outline[:, 0], np.zeros(len(outline)), outline[:, 1]], 1)

    def inside(points: np.ndarray) -> np.ndarray:
        return (np.abs(points[:, 1]) < thickness / 2) & in_polygon(points[:, [0, 2]], outline * min(taper, 1))

    return loft([flat - [0, thickness / 2, 0], flat * [taper, 1, taper] + [0, thickness / 2, 0]], inside).moved(offset=center)


def ellipse(radius_x: float, radius_z: float, count: int = 24, exponent: float = 1.0) -> np.ndarray:
    """Outline [count, 2] of an ellipse, counter-clockwise seen from above; exponents below 1 make it boxy."""
    turns = np.arange(count) * 2 * np.pi / count
    x, z = np.cos(turns), -np.sin(turns)
    return np.stack([radius_x * np.sign(x) * np.abs(x) ** exponent, radius_z * np.sign(z) * np.abs(z) ** exponent], 1)


def tube(path: np.ndarray, radius: float | Sequence[float] | np.ndarray, sides: int = 12) -> Solid:
    """A round tube along a path [K, 3]; the radius may change from point to point [K]."""
    path = np.asarray(path, dtype=float)
    radii = np.broadcast_to(radius, len(path)).astype(float)
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    frame = aligned(tangents[0])
    turns = np.arange(sides) * 2 * np.pi / sides
    rings = []
    for point, tangent, wide in zip(path, tangents, radii, strict=True):
        x = frame[:, 0] - tangent * (frame[:, 0] @ tangent)  # carried along without twisting
        x /= np.linalg.norm(x)
        frame = np.stack([x, tangent, np.cross(x, tangent)], 1)
        circle = np.stack([np.cos(turns), np.zeros(sides), -np.sin(turns)], 1) * wide
        rings.append(circle @ frame.T + point)

    def inside(points: np.ndarray) -> np.ndarray:
        hidden = np.zeros(len(points), dtype=bool)
        for a, b, wide in zip(path[:-1], path[1:], np.minimum(radii[:-1], radii[1:]), strict=True):
            along = np.clip((points - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
            hidden |= np.linalg.norm(points - a - along[:, None] * (b - a), axis=1) < 0.9 * wide
        return hidden

    return loft(rings, inside)


def in_polygon(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Whether points [N, 2] lie in a closed polygon [K, 2], by the even-odd rule."""
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return (np.count_nonzero(crosses & left, axis=1) % 2).astype(bool)


def rounded_path(path: np.ndarray, radius: float) -> np.ndarray:
    """A path [K, 3] with its corners cut to quarter turns."""
    points = [path[0]]
    for before, corner, after in zip(path[:-2], path[1:-1], path[2:], strict=True):
        reach = [min(radius, np.linalg.norm(end - corner) / 2.1) for end in (before, after)]
        a = corner + (before - corner) / np.linalg.norm(before - corner) * reach[0]
        b = corner + (after - corner) / np.linalg.norm(after - corner) * reach[1]
        points += [(1 - t) ** 2 * a + 2 * t * (1 - t) * corner + t**2 * b for t in np.linspace(0, 1, 5)]
    return np.array([*points, path[-1]])


def ring_of(outer: np.ndarray, inner: np.ndarray, thick: float) -> Solid:
    """A flat ring between two outlines [K, 3], as one closed surface."""
    count = len(outer)
    up = np.array([0, thick, 0])
    vertices = np.concatenate([outer, outer + up, inner + up, inner])
    here = np.arange(count)
    after = (here + 1) % count
    faces = []
    for level in range(4):
        a, b = level * count + here, level * count + after
        c, d = (level + 1) % 4 * count + here, (level + 1) % 4 * count + after
        faces += [np.stack([a, b, d], 1), np.stack([a, d, c], 1)]
    return outward(Solid(vertices, np.concatenate(faces)))
