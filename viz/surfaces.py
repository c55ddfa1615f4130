"""Layers of points and of triangle meshes from what `Scene.add_points` and `Scene.add_mesh` are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from geo3d.viz.colors import as_array
from geo3d.viz.layers import Layer, Mesh, Points, check_between, check_length, element_colors, rows_of_three

PLAIN = (142, 172, 214)  # of points with normals and of meshes that are given no colour


def points_layer(
    points: Any,
    *,
    colors: Any,
    labels: Any,
    values: Any,
    limits: tuple[float, float] | None,
    colormap: str,
    normals: Any,
    size: float | None,
    up: str,
) -> Layer:
    """See `Scene.add_points`."""
    positions = rows_of_three(points, "points")
    if size is not None and not 0 < size <= 64:
        raise ValueError(f"size must be in 0..64 pixels, got {size}")
    if normals is not None:
        normals = rows_of_three(normals, "normals")
        check_length(normals, len(positions), "normals")
    rgb = element_colors(
        positions,
        "points",
        colors=colors,
        labels=labels,
        values=values,
        limits=limits,
        colormap=colormap,
        up=up,
        plain="height" if normals is None else np.array(PLAIN),
    )
    return Layer("points", (Points(positions, rgb, normals, size),))


def mesh_layer(
    vertices: Any,
    faces: Any,
    *,
    colors: Any,
    labels: Any,
    values: Any,
    limits: tuple[float, float] | None,
    colormap: str,
    opacity: float,
    up: str,
) -> Layer:
    """See `Scene.add_mesh`."""
    corners = rows_of_three(vertices, "vertices")
    triangles = as_array(faces)
    if triangles.ndim != 2 or triangles.shape[1] != 3 or len(triangles) == 0 or triangles.dtype.kind not in "iu":
        raise ValueError(f"faces must be [F, 3] integers with F > 0, got {list(triangles.shape)} {triangles.dtype}")
    if triangles.min() < 0 or triangles.max() >= len(corners):
        raise ValueError(f"faces must be rows of {len(corners)} vertices, got {triangles.min()} to {triangles.max()}")
    check_between(opacity, "opacity", 0, 1)
    rgb = element_colors(
        corners,
        "vertices",
        colors=colors,
        labels=labels,
        values=values,
        limits=limits,
        colormap=colormap,
        up=up,
        plain=np.array(PLAIN),
    )
    return Layer("mesh", (Mesh(corners, triangles.astype(np.int64), rgb, opacity),))
