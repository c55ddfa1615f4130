"""Scenes that the viewer's tests share."""

from __future__ import annotations

import numpy as np

from geo3d.viz import Scene


def street(shift: float = 0.0) -> Scene:
    """Ground of blue points, two orange boxes with texts, an orange skeleton and a red mesh."""
    generator = np.random.default_rng(0)
    scene = Scene(title="street <b> & co")
    ground = np.concatenate([generator.uniform(-12, 12, (4000, 2)), generator.normal(-0.9, 0.02, (4000, 1))], axis=1)
    scene.add_points(ground, colors=(40, 90, 200), name="ground")
    boxes = [[4 + shift, 0, 0, 4.2, 1.8, 1.6, 0.5], [-5, 3, 0, 4.2, 1.8, 1.6, -1.0]]
    scene.add_boxes(boxes, colors=(230, 130, 20), texts=["car 0.90", "</script>"], fill=0.2, name="boxes")
    corners = np.array([[0, -6, 0], [3, -6, 0], [0, -3, 0], [0, -6, 4.0]])
    scene.add_mesh(corners, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]], colors="red", name="tetrahedron")
    scene.add_skeleton(np.array([[0, 4, 0], [0, 4, 1.5], [0.5, 4, 2]]), [(0, 1), (1, 2)], name="walker")
    scene.add_legend(["car"], [(230, 130, 20)])
    scene.add_scale(0, 5, text="metres")
    scene.add_image(np.full((30, 40, 3), 90, np.uint8), caption="camera")
    return scene
