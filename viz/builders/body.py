"""Bodies: a scan, the mesh that was fitted to it, its skeleton, and how far each vertex is from the truth.

body_scene(scan, vertices, faces, joints, bones, errors=distances).save("fit.png", views=["front", "left"])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geo3d.viz.colors import as_array
from geo3d.viz.scene import Scene

SCAN, MESH, SKELETON = (96, 104, 118), (222, 178, 148), (213, 94, 0)
ERROR_COLORMAP = "viridis"


def body_scene(
    scan: Any = None,
    vertices: Any = None,
    faces: Any = None,
    joints: Any = None,
    bones: Any = None,
    *,
    errors: Any = None,
    error_limits: tuple[float, float] | None = None,
    beside: bool = False,
    up: str = "y",
    title: str | None = None,
) -> Scene:
    """A scan with a fitted body; any of them may be left out.

    Args:
        scan: [N, 3], or [N, 6] with normals; metres.
        vertices: [V, 3] of the mesh.
        faces: [F, 3] rows of `vertices`.
        joints: [J, 3].
        bones: [B, 2] rows of `joints`, parent first.
        errors: [V] distance of each vertex in metres; the mesh is coloured by it, with a scale in millimetres.
        error_limits: errors in metres at the ends of the scale; 0 and the 99th percentile when None.
        beside: whether the scan stands beside the body along x, so that neither hides the other, and not around it.
        up: the axis that points up.
        title: a line above the picture.

    Raises:
        ValueError: nothing to show, one of a pair without the other, or shapes that do not fit.
    """
    for first, second, names in ((vertices, faces, "vertices and faces"), (joints, bones, "joints and bones")):
        if (first is None) != (second is None):
            raise ValueError(f"body_scene: {names} go together, got one of them")
    if scan is None and vertices is None and joints is None:
        raise ValueError("body_scene: expected a scan, a mesh or joints, got none")
    if errors is not None and vertices is None:
        raise ValueError("body_scene: errors need vertices and faces")
    scene = Scene(up=up, title=title)
    shown: list[str] = []
    colors: list[Any] = []
    if scan is not None:
        array = as_array(scan)
        normals = array[:, 3:6] if array.ndim == 2 and array.shape[1] == 6 else None
        cloud = array[:, :3] if normals is not None else array
        other = joints if vertices is None else vertices
        if beside and other is not None:
            cloud = cloud - (1.1 * np.ptp(cloud, axis=0)[0] + cloud[:, 0].min() - as_array(other)[:, 0].min(), 0, 0)
        around = other is not None and not beside
        scene.add_points(cloud, normals=normals, colors=SCAN, size=2.0 if around else None, name="scan")
        shown.append("scan")
        colors.append(SCAN)
    if vertices is not None:
        if errors is None:
            scene.add_mesh(vertices, faces, colors=MESH, name="mesh")
            shown.append("fitted mesh")
            colors.append(MESH)
        else:
            _add_mesh_with_errors(scene, vertices, faces, errors, error_limits)
    if joints is not None:
        scene.add_skeleton(joints, bones, colors=SKELETON, hidden=0.8, width=4.0, joint_size=8.0, name="skeleton")
        shown.append("skeleton")
        colors.append(SKELETON)
    if len(shown) > 1 or (shown and errors is not None):
        scene.add_legend(shown, np.array(colors))
    return scene


def _add_mesh_with_errors(scene: Scene, vertices: Any, faces: Any, errors: Any, limits: tuple[float, float] | None) -> None:
    millimeters = 1000 * as_array(errors).astype(np.float64)
    if millimeters.ndim != 1 or (millimeters < 0).any():
        raise ValueError(f"errors must be [V] distances in metres, got {list(millimeters.shape)}")
    low, high = (0.0, float(np.nanpercentile(millimeters, 99))) if limits is None else (1000 * limits[0], 1000 * limits[1])
    high = high if high > low else low + 1.0
    scene.add_mesh(vertices, faces, values=millimeters, limits=(low, high), colormap=ERROR_COLORMAP, name="mesh")
    scene.add_scale(low, high, text="error, mm", colormap=ERROR_COLORMAP)
