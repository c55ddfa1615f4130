"""Points of a body as a scanner sees them: noise, clothes, hair, uneven density, one side alone, missing regions, floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geo3d.body.kinematics import SMPL_JOINTS

NO_PART = -1  # label of points that belong to no body
BARE = ("head", "neck", "left_ankle", "right_ankle", "left_wrist", "right_wrist")
PIXEL = 0.02  # metres, of the grid that one side is seen through
DEPTH = 0.04  # metres behind the nearest point of a pixel where others still count as seen
DENSER = 2  # points are drawn so many times over before some are left out
DENSER_ONE_SIDED = 12  # so that no pixel before a body is empty


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is taken; the default is a clean one.

    Attributes:
        noise: standard deviation of each coordinate, metres.
        clothes: largest distance of clothes from the skin, metres.
        hair: largest distance of hair from the skin, metres.
        unevenness: 0 for an even density; 1 has places with a few times more points than others.
        one_sided: whether only what is seen from one direction is there.
        holes: number of balls of 5 to 15 cm without points.
        floor: share of the points that lie on a floor under the body.
    """

    noise: float = 0.0
    clothes: float = 0.0
    hair: float = 0.0
    unevenness: float = 0.0
    one_sided: bool = False
    holes: int = 0
    floor: float = 0.0


def sample_settings(rng: np.random.Generator) -> ScanSettings:
    """Settings as they come: most scans have some noise, a half clothes, a quarter one side alone."""
    return ScanSettings(
        noise=float(rng.choice([0.0, 0.001, 0.003, 0.006])),
        clothes=float(rng.uniform(0, 0.04)) if rng.random() < 0.5 else 0.0,
        hair=float(rng.uniform(0, 0.06)) if rng.random() < 0.5 else 0.0,
        unevenness=float(rng.uniform(0, 1)),
        one_sided=bool(rng.random() < 0.25),
        holes=int(rng.integers(0, 4)) if rng.random() < 0.4 else 0,
        floor=float(rng.uniform(0, 0.2)) if rng.random() < 0.15 else 0.0,
    )


def sample_scan(
    vertices: np.ndarray,
    faces: np.ndarray,
    labels: np.ndarray,
    count: int,
    rng: np.random.Generator,
    settings: ScanSettings | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Points on a body.

    Args:
        vertices: [V, 3], metres; the floor is at their lowest y.
        faces: [F, 3], seen counter-clockwise from outside.
        labels: [V] part of each vertex, as `geo3d.body.part_labels` gives it.
        count: number of points.
        rng: source of the draws.
        settings: how the scan is taken; a clean one when None.

    Returns:
        points [count, 3] float32 and labels [count] int64, that of the corner with the largest share; -1 on the floor.

    Raises:
        ValueError: fewer than one point, or shapes that do not fit.
    """
    settings = ScanSettings() if settings is None else settings
    if count < 1 or vertices.ndim != 2 or vertices.shape[1] != 3 or labels.shape != vertices.shape[:1]:
        raise ValueError(
            f"sample_scan: expected vertices [V, 3], labels [V] and at least one point, got {list(vertices.shape)}, {list(labels.shape)} and {count}"
        )
    dressed = _dressed(np.asarray(vertices, dtype=np.float64), faces, labels, rng, settings)
    on_floor = int(round(settings.floor * count))
    wanted = count - on_floor
    drawn = (DENSER_ONE_SIDED if settings.one_sided else DENSER) * wanted
    points, parts = _surface_points(dressed, faces, labels, drawn, rng, settings)
    if settings.one_sided:
        seen = _seen_from(points, rng)
        points, parts = points[seen], parts[seen]
    for _ in range(settings.holes):
        away = np.linalg.norm(points - points[rng.integers(len(points))], axis=1) > rng.uniform(0.05, 0.15)
        if away.sum() > len(points) // 3:
            points, parts = points[away], parts[away]
    chosen = rng.choice(len(points), wanted, replace=len(points) < wanted)
    points, parts = points[chosen], parts[chosen]
    if on_floor:
        middle, lowest = dressed.mean(0), dressed[:, 1].min()
        ground = middle + rng.uniform(-1, 1, (on_floor, 3)) * (1.0, 0.0, 1.0)
        ground[:, 1] = lowest
        points, parts = np.concatenate([points, ground]), np.append(parts, np.full(on_floor, NO_PART))
    return (points + rng.normal(0, settings.noise, points.shape)).astype(np.float32), parts.astype(np.int64)


def _dressed(
    vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, rng: np.random.Generator, settings: ScanSettings
) -> np.ndarray:
    """Vertices moved outwards: smoothly varying over the dressed parts, and over the upper head."""
    if settings.clothes == settings.hair == 0:
        return vertices
    normals = _vertex_normals(vertices, faces)
    bare = np.isin(labels, [SMPL_JOINTS.index(name) for name in BARE])
    offsets = np.where(bare, 0, settings.clothes * (0.5 + 0.5 * _waves(vertices, rng, 0.25)))
    head = labels == SMPL_JOINTS.index("head")
    if settings.hair and head.any():
        center = vertices[head].mean(0)
        up = center - vertices[labels == SMPL_JOINTS.index("neck")].mean(0)
        height = (vertices - center) @ (up / np.linalg.norm(up))
        offsets = np.where(
            head, settings.hair * np.clip(height / 0.05, 0, 1) * (0.5 + 0.5 * _waves(vertices, rng, 0.1)), offsets
        )
    return vertices + offsets[:, None] * normals


def _vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _waves(points: np.ndarray, rng: np.random.Generator, length: float) -> np.ndarray:
    """Values in [-1, 1] that vary over about `length` metres."""
    directions = rng.standard_normal((4, 3))
    directions *= 2 * np.pi / length / np.linalg.norm(directions, axis=1, keepdims=True)
    return np.sin(points @ directions.T + rng.uniform(0, 2 * np.pi, 4)).mean(1)


def _surface_points(
    vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator, settings: ScanSettings
) -> tuple[np.ndarray, np.ndarray]:
    corners = vertices[faces]  # [F, 3, 3]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share = area * np.exp(2 * settings.unevenness * _waves(corners.mean(1), rng, 0.6))
    face = rng.choice(len(faces), count, p=share / share.sum())
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    shares = np.stack([1 - root, root * (1 - along), root * along], 1)
    points = (corners[face] * shares[:, :, None]).sum(1)
    return points, labels[faces[face, shares.argmax(1)]]


def _seen_from(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which points are seen from a direction that lies within 30 degrees of the horizontal: the nearest ones of each pixel."""
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
    towards = np.array([np.cos(height) * np.sin(azimuth), np.sin(height), np.cos(height) * np.cos(azimuth)])
    right = np.cross([0.0, 1.0, 0.0], towards)
    right /= np.linalg.norm(right)
    pixels = np.floor(np.stack([points @ right, points @ np.cross(towards, right)], 1) / PIXEL).astype(np.int64)
    pixels -= pixels.min(0)
    cell = pixels[:, 0] * (pixels[:, 1].max() + 1) + pixels[:, 1]
    near = points @ towards
    nearest = np.full(cell.max() + 1, -np.inf)
    np.maximum.at(nearest, cell, near)
    return near > nearest[cell] - DEPTH
