"""Scenes of unrelated things brought to one place and size, so that a camera that stays sees each of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geo3d.viz import Mesh, Points, Scene
from geo3d.viz.drawing import visible_content
from geo3d.viz.layers import Labels, Lines, Part, Picture


def centered(scene: Scene) -> Scene:
    """The same scene around the origin, its farthest point at distance 1; cameras of images follow, so overlays stay."""
    content = visible_content(list(scene.layers.values()))
    if not len(content):
        return scene
    middle = (content.min(axis=0) + content.max(axis=0)) / 2
    radius = float(np.linalg.norm(content - middle, axis=1).max()) or 1.0
    moved = Scene(up=scene.up, title=scene.title, background=scene.background)
    moved.legend, moved.scale = scene.legend, scene.scale
    for name, layer in scene.layers.items():
        moved.layers[name] = replace(layer, parts=tuple(_moved(part, middle, radius) for part in layer.parts))
    return moved


def _moved(part: Part, middle: np.ndarray, radius: float) -> Part:
    if isinstance(part, Points):
        return replace(part, positions=(part.positions - middle) / radius)
    if isinstance(part, Mesh):
        return replace(part, vertices=(part.vertices - middle) / radius)
    if isinstance(part, Lines):
        return replace(part, segments=(part.segments - middle) / radius)
    if isinstance(part, Labels):
        return replace(part, around=(part.around - middle) / radius)
    if isinstance(part, Picture) and part.camera_from_world is not None:
        pose = part.camera_from_world.copy()
        pose[:3, 3] = (pose[:3, :3] @ middle + pose[:3, 3]) / radius  # a projection does not see the scale
        return replace(part, camera_from_world=pose)
    return part
