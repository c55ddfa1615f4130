"""Triangle meshes with surfaces that reflect light, of which generated streets are built. x is forward, y left, z up, metres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Solid, Vector, tube

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Surface:
    """How a surface looks to a LiDAR and to a camera.

    Attributes:
        reflectance: intensity that the LiDAR reports nearby, 0..1; more for retroreflectors.
        color: red, green, blue, 0..255.
        gloss: 0 matt, 1 polished: a polished surface sends little back unless it is hit squarely.
        transparency: share of the rays that go through, as through the windows of cars.
        loss: share of the rays that never come back, however near the surface is.
    """

    reflectance: float
    color: Color
    gloss: float = 0.0
    transparency: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, each with a surface.

    Attributes:
        vertices: [V, 3] float64.
        faces: [F, 3] int64 rows of `vertices`.
        surface_index: [F] int64 entries of `surfaces`.
        surfaces: the surfaces in use.
    """

    vertices: np.ndarray
    faces: np.ndarray
    surface_index: np.ndarray
    surfaces: tuple[Surface, ...]

    def placed(self, position: Vector, yaw: float = 0.0) -> Mesh:
        """The mesh turned by a yaw (radians, counter-clockwise from above), then shifted."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return Mesh(self.vertices @ turn.T + np.asarray(position, float), self.faces, self.surface_index, self.surfaces)

    def fitted(self, size: Vector) -> Mesh:
        """The mesh stretched to a length, width and height, its middle above the origin and its lowest point at z = 0."""
        low, high = self.vertices.min(0), self.vertices.max(0)
        base = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        vertices = (self.vertices - base) * (np.asarray(size, float) / (high - low))
        return Mesh(vertices, self.faces, self.surface_index, self.surfaces)

    @property
    def size(self) -> np.ndarray:
        """[3] extent along the axes."""
        return np.ptp(self.vertices, axis=0)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; raises ValueError when there are none."""
    if not meshes:
        raise ValueError("joined: expected at least one mesh")
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    first = np.cumsum([0, *(len(mesh.surfaces) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.surface_index + start for mesh, start in zip(meshes, first, strict=True)]),
        tuple(surface for mesh in meshes for surface in mesh.surfaces),
    )


def assembled(parts: Iterable[tuple[Solid, Surface]]) -> Mesh:
    """One mesh of solids, each of one surface."""
    parts = list(parts)
    surfaces = list(dict.fromkeys(surface for _, surface in parts))
    starts = np.cumsum([0, *(len(solid.vertices) for solid, _ in parts[:-1])])
    return Mesh(
        np.concatenate([solid.vertices for solid, _ in parts]),
        np.concatenate([solid.faces + start for (solid, _), start in zip(parts, starts, strict=True)]),
        np.concatenate([np.full(len(solid.faces), surfaces.index(surface)) for solid, surface in parts]),
        tuple(surfaces),
    )


_BOX_CORNERS = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_BOX_FACES = np.array(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]]
)  # fmt: skip


def block(size: Vector, center: Vector) -> Solid:
    """An upright box."""
    return Solid(_BOX_CORNERS * np.asarray(size, float) + np.asarray(center, float), _BOX_FACES)


def blob(radii: Vector, center: Vector, rows: int = 7, sides: int = 12) -> Solid:
    """An ellipsoid."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows)
    path = np.stack([np.zeros(rows), np.zeros(rows), np.sin(latitude)], 1)
    unit = tube(path, np.maximum(np.cos(latitude), 1e-3), sides)
    return Solid(unit.vertices * np.asarray(radii, float) + np.asarray(center, float), unit.faces)


def limb(joints: Sequence[Vector], radii: Sequence[float], sides: int = 8) -> Solid:
    """A round limb through joints, its ends rounded off by half a radius."""
    path = np.asarray(joints, float)
    ends = [path[0] - path[1], path[-1] - path[-2]]
    first, last = (end / np.linalg.norm(end) for end in ends)
    path = np.concatenate([[path[0] + first * radii[0] / 2], path, [path[-1] + last * radii[-1] / 2]])
    return tube(path, np.array([radii[0] * 0.6, *radii, radii[-1] * 0.6]), sides)


def leaves(centers: np.ndarray, size: float, rng: np.random.Generator) -> Solid:
    """A triangle of random direction at each center [N, 3]: porous foliage."""
    count = len(centers)
    corners = rng.normal(size=(count, 3, 3))
    corners *= (size * rng.uniform(0.6, 1.4, (count, 1, 1))) / np.linalg.norm(corners, axis=2, keepdims=True)
    return Solid((corners + centers[:, None]).reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))
