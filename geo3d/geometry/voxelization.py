"""Voxel grids of triangle meshes."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

STEPS_PER_VOXEL = 3.0  # of the points that stand for a face; a voxel that a face only grazes may stay empty


@dataclass(frozen=True, eq=False)
class VoxelizedMesh:
    """A mesh as voxels in a cube about the middle of its box.

    Attributes:
        voxels: [S, S, S] bool, indexed z, y, x.
        origin: [3] float64 x y z of the cube's lowest corner, in the mesh's units.
        scale: side of the cube.
    """

    voxels: np.ndarray
    origin: np.ndarray
    scale: float


def voxelize_mesh(vertices: np.ndarray, faces: np.ndarray, side: int, fill: bool = True) -> VoxelizedMesh:
    """Voxels that a mesh's surface passes through, and those that it encloses.

    The longest side of the mesh's box is as long as the cube, as binvox has it. What no path through empty voxels, from face to face,
    leads out of is enclosed, so that holes narrower than a voxel do not matter.

    Args:
        vertices: [V, 3].
        faces: [F, 3] rows of `vertices`.
        side: S, voxels along a side.
        fill: with the enclosed voxels.

    Raises:
        ValueError: no faces, a mesh without extent, values that are not finite, or rows that do not exist.
    """
    from scipy.ndimage import binary_fill_holes

    vertices, faces = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        found = f"{list(vertices.shape)} and {list(faces.shape)}"
        raise ValueError(f"voxelize_mesh: vertices must be [V, 3] and faces [F, 3] with at least one face, got {found}")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise ValueError("voxelize_mesh: faces must be rows of vertices, and vertices finite")
    corners = vertices[np.unique(faces)]
    low, high = corners.min(0), corners.max(0)
    scale = float((high - low).max())
    if not scale > 0:
        raise ValueError("voxelize_mesh: expected a mesh with an extent, got a single point")
    origin = (low + high) / 2 - scale / 2
    voxels = np.zeros((side, side, side), np.bool_)
    _mark((vertices - origin) * (side / scale), faces, voxels)
    return VoxelizedMesh(binary_fill_holes(voxels) if fill else voxels, origin, scale)


@numba.njit(cache=True)
def _cell(place, side):
    return min(max(int(np.floor(place)), 0), side - 1)


@numba.njit(cache=True)
def _mark(vertices, faces, voxels):
    """Set the voxels [z, y, x] in which points of the faces lie; vertices count in voxels."""
    side = voxels.shape[0]
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        longest = max(np.abs(b - a).max(), np.abs(c - a).max(), np.abs(c - b).max())
        steps = max(1, int(np.ceil(longest * STEPS_PER_VOXEL)))
        for i in range(steps + 1):
            for j in range(steps + 1 - i):
                u, v = i / steps, j / steps
                x = a[0] + u * (b[0] - a[0]) + v * (c[0] - a[0])
                y = a[1] + u * (b[1] - a[1]) + v * (c[1] - a[1])
                z = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                voxels[_cell(z, side), _cell(y, side), _cell(x, side)] = True
