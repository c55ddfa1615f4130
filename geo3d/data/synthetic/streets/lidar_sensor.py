"""A spinning LiDAR of 64 beams, as KITTI's, and the ray casting that generated sweeps and pictures are made with.

Beam angles, the heights of the two blocks of lasers, points a turn, noise, and how intensity fades with distance were fitted to
sweeps of KITTI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.streets.mesh import Mesh, Surface

# Degrees; beam by beam from the top, as the points of a file are ordered.
ELEVATIONS = np.array(
    [1.94, 1.57, 1.3, 0.87, 0.58, 0.18, -0.09, -0.45, -0.8, -1.2, -1.49, -1.83, -2.21, -2.55, -2.87, -3.24]
    + [-3.54, -3.94, -4.22, -4.59, -4.91, -5.25, -5.61, -5.96, -6.33, -6.68, -7.0, -7.29, -7.68, -8.06, -8.31, -8.71]
    + [-9.03, -9.57, -10.06, -10.47, -10.96, -11.6, -12.12, -12.56, -13.04, -13.48, -14.05, -14.6, -15.19, -15.66, -16.18]
    + [-16.55, -17.19, -17.73, -18.32, -18.8, -19.32, -19.74, -20.22, -20.79, -21.32, -21.93, -22.44, -22.86, -23.32]
    + [-23.97, -24.51, -25.0]
)
BLOCK_HEIGHTS = (np.linspace(0.209, 0.198, 32), np.linspace(0.126, 0.116, 32))  # of the lasers above the origin, metres
STEPS = 2150  # of a turn
MAX_RANGE = 80.0
RANGE_NOISE, BEAM_BIAS = 0.016, 0.008  # metres, one deviation; the bias differs from beam to beam
BEAM_GAIN = 0.2  # one deviation of the beams' sensitivity
ROOF = ((-1.25, -0.5, -0.37), (0.5, 0.5, -0.34))  # of the car that carries the LiDAR; its corners
PASSES = 3  # windows that a ray may go through


@dataclass(frozen=True)
class Sweep:
    """Points of one turn.

    Attributes:
        points: [N, 4] float32 x y z intensity, beam by beam from the top, counter-clockwise from straight ahead.
        owners: [N] int64 which mesh of the scene each point lies on.
    """

    points: np.ndarray
    owners: np.ndarray


class CastScene:
    """Meshes to cast rays at.

    Args:
        meshes: of the scene.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        import open3d as o3d

        self.owner = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
        vertices = np.concatenate([mesh.vertices for mesh in meshes])
        faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
        corners = vertices[faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.normals = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-12)
        looks = [_looks(mesh.surfaces)[mesh.surface_index] for mesh in meshes]
        self.reflectance, self.gloss, self.transparency, self.loss, *color = np.concatenate(looks).T
        self.color = np.stack(color, 1)
        self._tensor = o3d.core.Tensor
        # One thread: the tree, and with it which of two equally near triangles is hit, is the same in every run.
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            self._tensor(vertices.astype(np.float32)), self._tensor(np.ascontiguousarray(faces, dtype=np.uint32))
        )

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance [R], infinite where nothing is met, and face [R], of rays with origins and unit directions [R, 3]."""
        rays = np.concatenate([np.broadcast_to(origins, directions.shape), directions], 1).astype(np.float32)
        answer = self._scene.cast_rays(self._tensor(rays), nthreads=1)
        distance, face = answer["t_hit"].numpy(), answer["primitive_ids"].numpy().astype(np.int64)
        return distance.astype(np.float64), np.where(np.isfinite(distance), face, -1)


def sweep(scene: CastScene, rng: np.random.Generator) -> Sweep:
    """One turn of the LiDAR at the origin."""
    origins, directions = _rays(rng)
    beam = np.repeat(np.arange(len(ELEVATIONS)), STEPS)
    free = ~_meets_roof(origins, directions)
    distance, face = np.full(len(beam), np.inf), np.full(len(beam), -1)
    distance[free], face[free] = _returns(scene, origins[free], directions[free], rng)
    hit = (distance < MAX_RANGE) & (face >= 0)
    distance, face, direction = distance[hit], face[hit], directions[hit]
    cosine = np.abs(np.einsum("ri,ri->r", direction, scene.normals[face]))
    intensity = _intensity(scene, face, distance, cosine, rng.normal(1, BEAM_GAIN, len(ELEVATIONS))[beam[hit]], rng)
    strength = np.maximum(scene.reflectance[face], 0.03) * np.sqrt(cosine) * (50 / np.maximum(distance, 1)) ** 2
    kept = rng.random(len(face)) < 1 - np.exp(-12 * strength)
    bias = rng.normal(0, BEAM_BIAS, len(ELEVATIONS))[beam[hit]]
    measured = distance + bias + rng.normal(0, RANGE_NOISE, len(distance))
    points = origins[hit] + measured[:, None] * direction
    return Sweep(np.concatenate([points, intensity[:, None]], 1, dtype=np.float32)[kept], scene.owner[face[kept]])


def _looks(surfaces: Sequence[Surface]) -> np.ndarray:
    return np.array([[s.reflectance, s.gloss, s.transparency, s.loss, *s.color] for s in surfaces])


def _rays(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Origins and unit directions, [beams * STEPS, 3]."""
    elevation = np.radians(ELEVATIONS)[:, None]
    step = np.arange(STEPS) + rng.uniform(0, 1, (len(ELEVATIONS), 1)) + rng.normal(0, 0.05, (len(ELEVATIONS), STEPS))
    azimuth = 2 * np.pi * step / STEPS
    direction = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation) + 0 * azimuth], -1
    )
    heights = np.repeat(np.concatenate(BLOCK_HEIGHTS), STEPS)
    return np.stack([0 * heights, 0 * heights, heights], 1), direction.reshape(-1, 3)


def _meets_roof(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Whether rays end on the roof of the car that carries the LiDAR; such points are not in the files."""
    (back, right, _), (front, left, top) = ROOF
    down = np.minimum(directions[:, 2], -1e-9)
    reach = (top - origins[:, 2]) / down
    x, y = reach * directions[:, 0], reach * directions[:, 1]
    return (x > back) & (x < front) & (y > right) & (y < left)


def _returns(
    scene: CastScene, origins: np.ndarray, directions: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Distance and face that a ray comes back from: some go through windows, some never come back (face -1)."""
    distance, face = scene.cast(origins, directions)
    travelled = np.zeros(len(distance))
    rays = np.flatnonzero(face >= 0)
    for _ in range(PASSES):
        chance = rng.random(len(rays))
        lost = chance < scene.loss[face[rays]]
        through = ~lost & (chance < scene.loss[face[rays]] + scene.transparency[face[rays]])
        face[rays[lost]] = -1
        rays = rays[through]
        if not len(rays):
            break
        travelled[rays] = distance[rays] + 0.01
        beyond, face[rays] = scene.cast(origins[rays] + travelled[rays, None] * directions[rays], directions[rays])
        distance[rays] = travelled[rays] + beyond
        rays = rays[face[rays] >= 0]
    return distance, face


def _intensity(
    scene: CastScene, face: np.ndarray, distance: np.ndarray, cosine: np.ndarray, gain: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What the sensor reports, 0..0.99 in steps of 0.01: hardly dependent on distance up to 25 m, mostly 0 from 50 m on."""
    reflectance, gloss = scene.reflectance[face], scene.gloss[face]
    facing = (1 - gloss) * (0.85 + 0.15 * cosine) + gloss * (0.25 + 1.6 * cosine**8)
    value = reflectance * facing * gain * rng.normal(1, 0.18, len(face)) + rng.normal(0, 0.02, len(face))
    faded = value / (1 + (distance / 50) ** 4)
    unread = rng.random(len(face)) < 0.95 / (1 + np.exp((42 - distance) / 6)) * (value < 1) + 0.02
    return np.where(unread | (faded < 0.05), 0, np.clip(faded, 0, 0.99)).round(2)
