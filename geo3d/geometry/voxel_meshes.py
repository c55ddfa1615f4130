"""Triangle meshes of voxel grids."""

from __future__ import annotations

import numpy as np

REFINED = 2  # steps along a voxel's side of the field that the surface is taken from
MIN_LOGIT, MAX_LOGIT = (
    1.0,
    3.0,
)  # of occupancies by the threshold, so that the surface is a quarter voxel from every centre at least
SMOOTHING, INFLATION = 0.6, -0.62  # Taubin's two steps
STEPS = 120
FREEDOM = 0.45  # voxels that a vertex may leave its place by, along each axis


def isosurface(field: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes, by Open3D.

    Args:
        field: [D, H, W] numbers at whole-number places, indexed z, y, x.
        level: the value on the surface.

    Returns:
        vertices [V, 3] float64 x y z; faces [F, 3] int64, counter-clockwise seen from where the field is smaller.

    Raises:
        ImportError, OSError: Open3D cannot be imported.
    """
    from open3d import core
    from open3d.t.geometry import TriangleMesh

    if not ((field > level).any() and (field < level).any()):
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    mesh = TriangleMesh.create_isosurfaces(core.Tensor.from_numpy(np.ascontiguousarray(field, np.float32)), [level])
    return mesh.vertex.positions.numpy().astype(np.float64), mesh.triangle.indices.numpy().astype(np.int64)


def voxel_mesh(occupancy: np.ndarray, threshold: float = 0.5, smooth: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The closed surface around the full voxels of a grid, in the cube of side 1 about the origin.

    Smoothed without shrinking (Taubin, SIGGRAPH 1995), where no vertex leaves the neighbourhood of its voxel (as in Gibson's constrained
    elastic surface nets, MICCAI 1998): the steps between voxels go, parts of one voxel's width stay.

    Args:
        occupancy: [S, S, S] in 0..1, or bool, indexed z, y, x.
        threshold: a voxel is full from here on.
        smooth: otherwise marching cubes alone.

    Returns:
        vertices [V, 3] float64 x y z, and faces [F, 3] int64, counter-clockwise seen from outside; empty where no voxel is full.

    Raises:
        ValueError: a grid of another form.
        ImportError: without Open3D.
    """
    grid = np.asarray(occupancy)
    if grid.ndim != 3 or len(set(grid.shape)) != 1 or grid.dtype.kind not in "bfiu":
        raise ValueError(
            f"voxel_mesh: occupancy must be a grid [S, S, S] of numbers or bool, got {list(grid.shape)} {grid.dtype}"
        )
    side = len(grid)
    field = np.pad(_slopes(grid, threshold), 1, constant_values=-MAX_LOGIT)
    if not smooth:
        vertices, faces = isosurface(field, 0.0)
    else:
        vertices, faces = isosurface(_refined(field), 0.0)
        vertices = _smoothed(vertices / REFINED, faces) if len(faces) else vertices
    return (vertices - 0.5) / side - 0.5, faces  # of the padded grid; the corner of its second voxel is the corner of the cube


def _slopes(grid: np.ndarray, threshold: float) -> np.ndarray:
    """Occupancies on the scale of the logistic function, above 0 from the threshold on, within limits on either side."""
    if grid.dtype == bool:
        return np.where(grid, MAX_LOGIT, -MAX_LOGIT).astype(np.float32)
    values, level = np.clip(grid.astype(np.float64), 1e-6, 1 - 1e-6), np.clip(threshold, 1e-6, 1 - 1e-6)
    sizes = np.abs(np.log(values / (1 - values)) - np.log(level / (1 - level))).clip(MIN_LOGIT, MAX_LOGIT)
    return np.where(grid >= threshold, sizes, -sizes).astype(np.float32)


def _refined(field: np.ndarray) -> np.ndarray:
    """The middles of the voxels, and linear between them, with REFINED steps a voxel."""
    from scipy.ndimage import map_coordinates

    places = [np.arange((size - 1) * REFINED + 1) / REFINED for size in field.shape]
    return map_coordinates(field, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")


def _smoothed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Vertices in units of voxels after steps towards the mean of their neighbours and back."""
    from scipy.sparse import coo_matrix, diags

    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.concatenate([ends, ends[:, ::-1]])
    joined = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(vertices),) * 2).tocsr()
    joined.data[:] = 1
    mean = diags(1 / np.maximum(joined.sum(1).A1, 1)) @ joined
    moved = vertices
    for _ in range(STEPS):
        for factor in (SMOOTHING, INFLATION):
            moved = moved + factor * (mean @ moved - moved)
        moved = moved.clip(vertices - FREEDOM, vertices + FREEDOM)
    return moved
