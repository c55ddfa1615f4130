"""From what a user has (a file or an array) to the oriented cloud that a network takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from geo3d.data.files.geometry import Geometry, read_geometry, sample_mesh
from geo3d.data.shapes.normals import estimate_normals
from geo3d.data.shapes.transforms import orient_normals, unit_sphere
from geo3d.ops import farthest_point_sample

MIN_POINTS = 32  # distinct points without which a shape says nothing
MESH_POINTS = 10_000  # drawn on a mesh, as many as the files of ModelNet40 hold
MAX_POINTS = 200_000  # of a cloud that is described by its shape, or whose normals are estimated
Shape = str | Path | Geometry | np.ndarray


def oriented_cloud(shape: Shape, seed: int = 0, *, most: int | None = None) -> tuple[np.ndarray, str]:
    """Points with unit normals of a file, a geometry or an array.

    Meshes are sampled, with the normals of their faces. Clouds without normals get estimated ones; beyond `MAX_POINTS` they are estimated
    on so many points drawn at random, and each other point has the normal of its nearest.

    Args:
        shape: a file (see `geo3d.data.files.geometry.read_geometry`), a `Geometry`, or an array [N, 3] or [N, 6] (positions, normals).
        seed: of the draw on a mesh, and of points.
        most: draw so many points of a larger cloud at random, in their order; all of them when None.

    Returns:
        [N, 6] float32 and a name for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file or an array that does not hold what it should, or fewer than 32 distinct points.
    """
    if isinstance(shape, np.ndarray):
        geometry, name = _from_array(shape), "array"
    else:
        geometry = shape if isinstance(shape, Geometry) else read_geometry(shape)
        name = str(geometry.source)
    if geometry.is_mesh:
        return sample_mesh(geometry, MESH_POINTS, seed), name
    _check_distinct(geometry.points, name)
    points, normals = geometry.points, geometry.normals
    if most is not None and len(points) > most:
        rows = _drawn(len(points), most, seed)
        points, normals = points[rows], normals[rows] if normals is not None else None
    if normals is None:
        normals = _normals(points, seed)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.where(lengths > 0, lengths, 1)
    return np.concatenate([points, normals], 1, dtype=np.float32), name


def network_points(
    cloud: np.ndarray, num_points: int, orient: bool, draw: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A cloud as the data sets give it to a network: farthest points, in the unit sphere, normals turned outwards.

    Args:
        cloud: [N, 6] float32.
        num_points: S, points of the network's input; smaller clouds repeat points.
        orient: turn the normals away from the centroid.
        draw: draw so many points at random first, as many as the files held that the network was trained on.
        seed: of that draw.

    Returns:
        [S, 6] float32, and [S] int64 the row of the cloud that each was.
    """
    generator = np.random.default_rng(seed)
    rows = np.arange(len(cloud))
    if draw is not None and len(cloud) > max(draw, num_points):
        rows = generator.choice(rows, max(draw, num_points), replace=False)
    if len(rows) < num_points:
        rows = np.concatenate([rows, generator.integers(0, len(cloud), num_points - len(rows))])
    positions = torch.from_numpy(np.ascontiguousarray(cloud[rows, :3]))
    rows = rows[farthest_point_sample(positions, num_points)[0].numpy()]
    points = unit_sphere(cloud[rows])
    return (orient_normals(points) if orient else points), rows


def _drawn(count: int, most: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _normals(points: np.ndarray, seed: int) -> np.ndarray:
    if len(points) <= MAX_POINTS:
        return estimate_normals(points)
    few = points[_drawn(len(points), MAX_POINTS, seed)]
    return estimate_normals(few)[cKDTree(few).query(points, workers=-1)[1]]


def _check_distinct(points: np.ndarray, name: str) -> None:
    few = points[:: max(1, len(points) // 10_000)]
    if len(few) < len(points) and len(np.unique(few, axis=0)) >= MIN_POINTS:
        return
    distinct = len(np.unique(points, axis=0))
    if distinct < MIN_POINTS:
        raise ValueError(f"{name}: expected at least {MIN_POINTS} distinct points, got {distinct}")


def _from_array(array: np.ndarray) -> Geometry:
    if array.ndim != 2 or array.shape[1] not in (3, 6):
        raise ValueError(f"array: expected [N, 3] or [N, 6] (positions and normals), got {list(array.shape)}")
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError("array: expected finite points, got " + ("none" if not len(array) else "NaN or infinity"))
    return Geometry(array[:, :3], array[:, 3:] if array.shape[1] == 6 else None, None, None, None, Path("array"))
