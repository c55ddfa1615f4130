"""Lines for the ray caster: ribbons that face the viewer, equally wide all along in the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geo3d.viz.camera import Camera
from geo3d.viz.layers import Lines
from geo3d.viz.raycast import Triangles

NEAR = 1e-3  # of the farthest end: lines are cut here, before they reach the eye's plane


def ribbons(lines: Sequence[Lines], camera: Camera, origin: np.ndarray, factor: float) -> Triangles | None:
    """Lines as triangles in the camera's frame (x right, y up, z backward), or None where none is before the camera.

    Args:
        lines: in the scene's coordinates.
        camera: around `origin`.
        origin: [3], subtracted from the lines.
        factor: pixels of the camera's picture for a pixel of the lines' width.

    Returns:
        triangles whose colours have five channels: red, green, blue, opacity, opacity where hidden; 0..255.
    """
    ends = np.concatenate([part.segments - origin for part in lines])  # [L, 2, 3]
    looks = np.concatenate([_looks(part) for part in lines])  # [L, 5]
    halves = np.concatenate([np.full(len(part.segments), part.width * factor / 2 / camera.focal) for part in lines])
    local = camera.to_camera(ends.reshape(-1, 3)).reshape(-1, 2, 3) * (1.0, camera.stretch, 1.0)
    near = NEAR * max(float(local[..., 2].max(initial=0)), 1e-12)
    kept = (local[..., 2] > near).any(axis=1)
    if not kept.any():
        return None
    local, looks, halves = _cut(local[kept], near), looks[kept], halves[kept]
    flat = local[..., :2] / local[..., 2:]  # [L, 2, 2] on the plane at depth 1
    along = flat[:, 1] - flat[:, 0]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.where(length > 1e-9, along / np.maximum(length, 1e-12), (1.0, 0.0)) * halves[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    first, second = flat[:, 0] - 0.6 * along, flat[:, 1] + 0.6 * along  # a little longer, so that corners close
    corners = np.stack([first + across, first - across, second - across, second + across], axis=1)  # [L, 4, 2]
    depths = local[:, [0, 0, 1, 1], 2:]
    corners = np.concatenate([corners * depths, depths], axis=2) * (1.0, -1.0, -1.0)
    faces = (np.array([(0, 1, 2), (0, 2, 3)]) + 4 * np.arange(len(corners))[:, None, None]).reshape(-1, 3)
    return Triangles(corners.reshape(-1, 3).astype(np.float32), np.repeat(looks, 4, axis=0), faces)


def _looks(part: Lines) -> np.ndarray:
    """[L, 5] uint8: colour, opacity, opacity where hidden."""
    opacities = np.array([255 * part.opacity, 255 * part.opacity * part.hidden], dtype=np.uint8)
    return np.concatenate([part.colors, np.broadcast_to(opacities, (len(part.colors), 2))], axis=1)


def _cut(ends: np.ndarray, near: float) -> np.ndarray:
    """Segments [L, 2, 3], each with an end beyond the depth `near`, without what is nearer."""
    depth = ends[..., 2]
    step = np.where(depth[:, 1] == depth[:, 0], 1.0, depth[:, 1] - depth[:, 0])
    crossing = ends[:, 0] + ((near - depth[:, 0]) / step)[:, None] * (ends[:, 1] - ends[:, 0])
    return np.where((depth < near)[..., None], crossing[:, None], ends)
