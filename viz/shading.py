"""Light and depth cues, computed on arrays, so that pictures look the same whatever draws them."""

from __future__ import annotations

import numpy as np

from geo3d.viz.camera import Camera
from geo3d.viz.layers import Mesh

CREASE_DEG = 50.0  # faces that meet at a larger angle keep their edge


def light(colors: np.ndarray, points: np.ndarray, normals: np.ndarray, camera: Camera, up: np.ndarray) -> np.ndarray:
    """Colours under a lamp above the viewer's left shoulder and a sky; surfaces are lit on both sides.

    Args:
        colors: [N, 3] uint8.
        points: [N, 3] in the scene's coordinates.
        normals: [N, 3], of any length; without light where zero.
        camera: the viewer.
        up: [3], towards the sky.

    Returns:
        [N, 3] uint8.
    """
    to_eye = _unit(camera.eye - points)
    normals = _unit(normals)
    normals = np.where((normals * to_eye).sum(axis=1, keepdims=True) < 0, -normals, normals)
    right, down, forward = camera.axes
    lamp = _unit((-0.5 * right - 0.75 * down - 0.75 * forward)[None])
    diffuse = np.clip((normals @ lamp.T + 0.2) / 1.2, 0, 1)  # wraps a little round the edge
    sky = 0.5 + 0.5 * normals @ up[:, None]
    gloss = np.clip((normals * _unit(to_eye + lamp)).sum(axis=1, keepdims=True), 0, 1) ** 30
    lit = colors * (0.50 + 0.16 * sky + 0.50 * diffuse) + 255 * 0.08 * gloss
    return np.clip(np.round(lit), 0, 255).astype(np.uint8)


def triangle_corners(vertices: np.ndarray, faces: np.ndarray, *, flat: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The corners of each face with normals that are smooth across curved parts and break at sharp edges.

    Args:
        vertices: [V, 3]; equal positions count as one vertex.
        faces: [F, 3] int.
        flat: whether every edge is sharp.

    Returns:
        corners [3F, 3], face after face, and normals [3F, 3] of any length.
    """
    triangles = vertices[faces]
    face_normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])  # length: twice the area
    if flat:
        return triangles.reshape(-1, 3), np.repeat(face_normals, 3, axis=0)
    places, place_of_vertex = np.unique(vertices, axis=0, return_inverse=True)
    corner_places = place_of_vertex.reshape(-1)[faces]  # [F, 3]
    keys = corner_places.reshape(-1) * np.int64(len(faces)) + np.repeat(_smooth_groups(places, corner_places), 3)
    unique, corner = np.unique(keys, return_inverse=True)
    normals = np.stack(
        [np.bincount(corner, weights=np.repeat(face_normals[:, k], 3), minlength=len(unique)) for k in range(3)], axis=1
    )
    return triangles.reshape(-1, 3), normals[corner]


def shared_corners(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A mesh whose corners are one vertex where they agree in place and normal, for formats that light each vertex.

    Returns:
        vertices [W, 3], unit normals [W, 3] in steps of 1/127, colors [W, 3] uint8, and faces [F, 3] int64.
    """
    corners, normals = triangle_corners(mesh.vertices, mesh.faces, flat=mesh.flat)
    steps = np.round(_unit(normals) * 127).astype(np.int64)
    keys = np.concatenate([mesh.faces.reshape(-1, 1), steps], axis=1)
    _, first, faces = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    colors = mesh.colors[mesh.faces.reshape(-1)[first]]
    return corners[first], _unit(normals)[first], colors, faces.reshape(-1, 3)


def depth_shade(depth: np.ndarray, focal: float, radii: tuple[int, ...]) -> np.ndarray:
    """How much light reaches each pixel, judged from the depth around it: dark in hollows and behind edges.

    A pixel is compared with the mean of two opposite neighbours, so a flat surface stays evenly bright however it is tilted.

    Args:
        depth: [H, W] float, infinite where nothing is.
        focal: focal length in pixels.
        radii: distances of the neighbours in pixels.

    Returns:
        [H, W] float32 in 0..1, 1 where nothing is.
    """
    filled = np.isfinite(depth)
    shade = np.ones(depth.shape, dtype=np.float32)
    if not filled.any():
        return shade
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    near = np.where(filled[window], depth[window], np.inf).astype(np.float32)
    height, width = near.shape
    total = np.zeros_like(near)
    reach = max(radii)
    padded = np.pad(near, reach, constant_values=np.inf)
    center = np.where(np.isfinite(near), near, 1)
    for radius in radii:
        diagonal = max(1, round(radius * 0.7))
        for dy, dx in ((0, radius), (radius, 0), (diagonal, diagonal), (diagonal, -diagonal)):
            first = padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
            second = padded[reach - dy : reach - dy + height, reach - dx : reach - dx + width]
            has_first, has_second = np.isfinite(first), np.isfinite(second)
            rise = 2 * center - np.where(has_first, first, center) - np.where(has_second, second, center)
            both = np.where(has_first & has_second, 1.0, 0.4)  # beside an empty pixel a slope looks like a hollow
            total += both * np.clip(rise * (focal / (2 * radius)) / center, 0, 1.5)
    shade[window] = np.exp(-0.6 * total / (4 * len(radii)))
    shade[~filled] = 1
    return shade


def shrink(picture: np.ndarray, factor: int) -> np.ndarray:
    """[H * factor, W * factor, 3] -> [H, W, 3], the mean of each block."""
    rows, mean = picture[::factor].astype(np.float32), np.zeros((), np.float32)
    for k in range(1, factor):
        rows += picture[k::factor]
    for k in range(factor):
        mean = mean + rows[:, k::factor]
    return mean / np.float32(factor**2)


def _smooth_groups(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] group of each face; faces of a group are joined by edges with less than the crease angle."""
    import trimesh
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    soft = mesh.face_adjacency[mesh.face_adjacency_angles < np.radians(CREASE_DEG)]
    graph = coo_matrix((np.ones(len(soft)), (soft[:, 0], soft[:, 1])), shape=(len(faces), len(faces)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [N, 3] at length 1; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
