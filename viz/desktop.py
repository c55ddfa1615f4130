"""From scenes to the desktop window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from geo3d.viz import shading, window
from geo3d.viz.camera import AXES, View, as_view
from geo3d.viz.drawing import frame_layers, visible_content
from geo3d.viz.layers import Mesh, Points, parts_of

if TYPE_CHECKING:
    from geo3d.viz.scene import Scene


def show_scenes(scenes: Sequence[Scene], *, size: tuple[int, int], view: str | View) -> None:
    """See `Scene.show`."""
    scene = scenes[0]
    scene.check_content()
    layers = list(scene.layers.values())
    camera, origin, sizes = frame_layers(layers, scene.up, as_view(view), size, 1)
    distance = float(np.median(camera.to_camera(visible_content(layers) - origin)[:, 2]))
    red, green, blue = (value / 255 for value in scene.background)
    parts = [
        window.Part(f"points {k}", part.positions - origin, part.colors, part.normals, None, point)
        for k, (part, point) in enumerate(zip(parts_of(layers, Points), sizes, strict=True))
    ]
    for k, mesh in enumerate(parts_of(layers, Mesh)):
        corners, normals = shading.triangle_corners(mesh.vertices - origin, mesh.faces, flat=mesh.flat)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        faces = np.arange(len(corners)).reshape(-1, 3)
        parts.append(window.Part(f"mesh {k}", corners, mesh.colors[mesh.faces.reshape(-1)], normals, faces, 0))
    window.show_window(
        window.Window(
            parts=tuple(parts),
            title=scene.title or "geo3d",
            size=size,
            background=(red, green, blue),
            eye=camera.eye,
            target=camera.eye + distance * camera.axes[2],
            up=AXES[scene.up],
        )
    )
