"""Normals of clouds that have none: the weighted local reference axis of RISurConv (ECCV 2024) and RIConv++ (IJCV 2022)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from geo3d.geometry.local_axes import reference_axis


def estimate_normals(points: np.ndarray, num_neighbors: int = 32) -> np.ndarray:
    """Axis of least spread of the neighbours of each point, near ones weighted more.

    The sign follows the shape and not the solver: the third moment of the neighbours along the axis is not negative, so that the
    result turns with the cloud. Where the neighbours lie in a plane or symmetrically the sign stays arbitrary;
    `geo3d.data.shapes.transforms.orient_normals` gives all of them a side.

    Args:
        points: [N, 3] finite, N >= 3.
        num_neighbors: neighbours of each point, itself among them; at most N are used.

    Returns:
        [N, 3] unit normals, of the dtype of `points`.

    Raises:
        ValueError: shapes, numbers of points or neighbours, or values that do not fit.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f":
        raise ValueError(f"estimate_normals: points must be [N, 3] floating point, got {list(points.shape)} {points.dtype}")
    if len(points) < 3 or num_neighbors < 3:
        raise ValueError(
            f"estimate_normals: needs at least 3 points and 3 neighbours, got {len(points)} points and {num_neighbors} neighbours"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"estimate_normals: points must be finite, got {points[~np.isfinite(points).all(1)][0].tolist()}")
    positions = points.astype(np.float64)
    _, neighbors = cKDTree(positions).query(positions, k=min(num_neighbors, len(points)))
    offsets = positions[neighbors] - positions[:, None]  # [N, k, 3]
    return reference_axis(torch.from_numpy(offsets)).numpy().astype(points.dtype)
