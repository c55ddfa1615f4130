"""A layer of voxels from what `Scene.add_voxels` is given: only the faces between full and empty voxels."""

from __future__ import annotations

from typing import Any

import numpy as np

from geo3d.viz.colors import as_array
from geo3d.viz.layers import Layer, Lines, Mesh, Part, check_between, element_colors
from geo3d.viz.surfaces import PLAIN

MAX_CELLS = 2**21 - 3  # along an axis: three such numbers make one int64
# Corners of the square between a voxel and its neighbour along +x, +y, +z, in order around the square.
SQUARES = np.array(
    [[(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)], [(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)], [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]]
)  # fmt: skip


def voxels_layer(
    voxels: Any,
    *,
    size: Any,
    origin: Any,
    order: str,
    threshold: float,
    colors: Any,
    labels: Any,
    values: Any,
    limits: tuple[float, float] | None,
    colormap: str,
    opacity: float,
    edges: bool,
    up: str,
) -> Layer:
    """See `Scene.add_voxels`."""
    if order not in ("zyx", "xyz"):
        raise ValueError(f"order must be 'zyx' or 'xyz', got {order!r}")
    check_between(opacity, "opacity", 0, 1)
    steps, start = _vector(size, "size"), _vector(origin, "origin")
    if (steps <= 0).any():
        raise ValueError(f"size must be positive, got {size}")
    array = as_array(voxels)
    cells = _full_cells(array, threshold)
    if not len(cells):
        return Layer("voxels", ())
    rows = cells if array.ndim == 3 else None
    xyz = cells[:, ::-1] if order == "zyx" else cells
    rgb = element_colors(
        start + (xyz + 0.5) * steps,
        "full voxels",
        colors=colors,
        labels=_of_full(labels, array, rows, "labels"),
        values=_of_full(values, array, rows, "values"),
        limits=limits,
        colormap=colormap,
        up=up,
        plain=np.array(PLAIN),
    )
    corners, owners = surface_squares(xyz)
    faces = (np.array([(0, 1, 2), (0, 2, 3)]) + 4 * np.arange(len(corners))[:, None, None]).reshape(-1, 3)
    squares = start + corners.reshape(-1, 3) * steps
    parts: tuple[Part, ...] = (Mesh(squares, faces, np.repeat(rgb[owners], 4, axis=0), opacity, flat=True),)
    if edges:
        segments = start + _unique_edges(corners) * steps
        dark = np.broadcast_to(np.array((30, 34, 44), np.uint8), (len(segments), 3))
        parts += (Lines(segments, dark, 1.0, 0.35 * opacity, 0.0),)
    return Layer("voxels", parts)


def surface_squares(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squares between full and empty voxels.

    Args:
        cells: [V, 3] integers, the full voxels, V > 0; the first of equal rows counts.

    Returns:
        corners [S, 4, 3] integers, around each square, seen from outside counter-clockwise, and the voxel of each
        square [S], a row of `cells`.
    """
    low = cells.min(axis=0) - 1
    extent = cells.max(axis=0) - low + 2
    strides = np.array([extent[1] * extent[2], extent[2], 1])
    keys, first = np.unique((cells - low) @ strides, return_index=True)
    corners, owners = [], []
    for axis in range(3):
        for side in (1, -1):
            neighbors = keys + side * strides[axis]
            at = np.searchsorted(keys, neighbors).clip(max=len(keys) - 1)
            bare = first[keys[at] != neighbors]
            square = SQUARES[axis] if side > 0 else (SQUARES[axis] - np.eye(3, dtype=int)[axis])[::-1]
            corners.append(cells[bare, None] + square)
            owners.append(bare)
    return np.concatenate(corners), np.concatenate(owners)


def _unique_edges(squares: np.ndarray) -> np.ndarray:
    """Edges [E, 2, 3] of squares [S, 4, 3], each once."""
    ends = np.stack([squares, np.roll(squares, -1, axis=1)], axis=2).reshape(-1, 2, 3)
    low = squares.reshape(-1, 3).min(axis=0)
    extent = squares.reshape(-1, 3).max(axis=0) - low + 1
    keys = np.sort((ends - low) @ np.array([extent[1] * extent[2], extent[2], 1]), axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    return ends[first]


def _full_cells(voxels: np.ndarray, threshold: float) -> np.ndarray:
    """[V, 3] int64 indices of the full voxels of a grid [D, H, W], or the coordinates [V, 3] that were given."""
    if voxels.ndim == 3 and voxels.dtype.kind in "bfiu":
        return np.argwhere(voxels if voxels.dtype.kind == "b" else voxels > threshold)
    if voxels.ndim == 2 and voxels.shape[1] == 3 and voxels.dtype.kind in "iu":
        cells = voxels.astype(np.int64)
        if len(cells) and (np.ptp(cells, axis=0) > MAX_CELLS).any():
            raise ValueError(f"voxels must lie within {MAX_CELLS} cells along each axis, got {np.ptp(cells, axis=0).max()}")
        return cells
    raise ValueError(f"voxels must be a grid [D, H, W] or integers [V, 3], got {list(voxels.shape)} {voxels.dtype}")


def _of_full(elements: Any, voxels: np.ndarray, cells: np.ndarray | None, name: str) -> np.ndarray | None:
    """One element for each full voxel, of a grid like `voxels` or of one row for each coordinate."""
    if elements is None:
        return None
    array = as_array(elements)
    if cells is None:
        return array
    if array.shape != voxels.shape:
        raise ValueError(f"{name} must be {list(voxels.shape)} as the voxels are, got {list(array.shape)}")
    return array[tuple(cells.T)]


def _vector(values: Any, name: str) -> np.ndarray:
    """[3] float64 of one number or three."""
    array = as_array(values).astype(np.float64)
    if array.shape not in ((), (3,)) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be one number or three, got {values}")
    return np.broadcast_to(array, (3,))
