"""What every reader of points returns, and the names under which drivers and programs store measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

AXES = ("x", "y", "z")
NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("color_r", "color_g", "color_b"),
)
INTENSITY = ("intensity", "i", "reflectivity", "reflectance", "reflect", "remission", "amplitude")
PREFIX = "scalar_"  # CloudCompare's, before the names of measurements


@dataclass(frozen=True)
class RawGeometry:
    """What a file holds, before any check of its values.

    points [N, 3] float; normals [N, 3] float; colors [N, 3] or [N, 4] uint8; intensity [N] float; faces [F, 3] integer; up is the
    axis that points up where the file tells it.
    """

    points: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    intensity: np.ndarray | None = None
    faces: np.ndarray | None = None
    up: str | None = None


def from_columns(columns: Mapping[str, np.ndarray], path: Path, faces: np.ndarray | None = None) -> RawGeometry:
    """Picks positions and measurements [N] out of named columns; other names are ignored.

    Raises:
        ValueError: no x, y, z.
    """
    named: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        named.setdefault(name.lower().removeprefix(PREFIX), values)
    if set(AXES) - set(named):
        raise ValueError(f"{path}: expected columns x, y and z, got {', '.join(columns) or 'none'}")

    def pick(groups: tuple[tuple[str, ...], ...]) -> np.ndarray | None:
        group = next((group for group in groups if set(group) <= set(named)), None)
        return None if group is None else np.stack([named[name] for name in group], axis=1)

    colors = pick(COLORS)
    return RawGeometry(
        points=np.stack([named[name] for name in AXES], axis=1),
        normals=pick(NORMALS),
        colors=None if colors is None else as_uint8_colors(colors, path),
        intensity=next((named[name] for name in INTENSITY if name in named), None),
        faces=faces,
    )


def as_uint8_colors(colors: np.ndarray, path: Path) -> np.ndarray:
    """Colours of 0..1, 0..255 or 16 bits as uint8; non-finite ones become black.

    Raises:
        ValueError: not [N, 3] or [N, 4], or values that are no colours.
    """
    if colors.ndim != 2 or colors.shape[1] not in (3, 4) or colors.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected colours [N, 3], got {list(colors.shape)} {colors.dtype}")
    if colors.dtype == np.uint8:
        return colors[:, :3]
    values = np.nan_to_num(colors[:, :3].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(initial=0), values.max(initial=0)
    if colors.dtype == np.uint16 and high > 255:
        return (values / 257).round().astype(np.uint8)
    if low < 0 or high > 255:
        raise ValueError(f"{path}: expected unit normals, or colours in 0..1 or 0..255, got values from {low:g} to {high:g}")
    fractions = colors.dtype.kind == "f" and high <= 1
    return np.round(values * 255 if fractions else values).astype(np.uint8)


def fan_triangles(counts: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Polygons as triangles that share the first corner.

    Args:
        counts: [P] integer, corners of each polygon; those of fewer than three give no triangle.
        indices: [counts.sum()] the corners, one polygon after the other.

    Returns:
        [F, 3] int64.
    """
    counts = counts.astype(np.int64)
    first = np.cumsum(counts) - counts
    triangles = np.maximum(counts - 2, 0)
    start = np.repeat(first, triangles)
    place = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    indices = indices.astype(np.int64)
    return np.stack([indices[start], indices[start + place + 1], indices[start + place + 2]], axis=1)
