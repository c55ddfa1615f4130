"""Files of a scene or a sequence: which writer a file's name asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View, as_view
from geo3d.viz.compose import compose
from geo3d.viz.content import SceneContent
from geo3d.viz.drawing import visible_content
from geo3d.viz.gltf import glb_bytes, to_y_up
from geo3d.viz.html import write_page
from geo3d.viz.layers import Lines, Mesh, Points, parts_of
from geo3d.viz.ply import write_ply
from geo3d.viz.video import VIDEO_SUFFIXES, turned_content, turned_views, write_video

MODEL_SUFFIXES = (".glb", ".ply")
SCENE_SUFFIXES = (*pictures.PICTURE_SUFFIXES, *VIDEO_SUFFIXES, ".html", *MODEL_SUFFIXES)
SEQUENCE_SUFFIXES = (*VIDEO_SUFFIXES, ".html")


def save_scene(
    scene: SceneContent,
    path: str | Path,
    *,
    size: tuple[int, int],
    view: str | View,
    views: Sequence[str | View] | None,
    fps: float,
    seconds: float,
) -> Path:
    """See `Scene.save`."""
    path = pictures.check_picture_path(path, SCENE_SUFFIXES)
    suffix = path.suffix.lower()
    if views is not None and suffix not in pictures.PICTURE_SUFFIXES:
        raise ValueError(f"{path}: several views make a sheet, which is a picture; give one view")
    if suffix in VIDEO_SUFFIXES:
        return write_video(path, _turntable(scene, size, as_view(view), fps, seconds), fps)
    if suffix == ".html":
        return write_page(path, [scene], view, fps)
    if suffix in MODEL_SUFFIXES:
        return _write_model(path, scene)
    return pictures.write_picture(path, compose(scene, size, [view] if views is None else views))


def save_sequence(
    scenes: Iterable[SceneContent],
    content: np.ndarray,
    path: Path,
    *,
    size: tuple[int, int],
    view: str | View,
    fps: float,
) -> Path:
    """See `SceneSequence.save`; `content` [N, 3] are the points that the camera sees."""
    if path.suffix.lower() == ".html":
        return write_page(path, scenes, view, fps, content)
    return write_video(path, (compose(scene, size, [view], content) for scene in scenes), fps)


def _write_model(path: Path, scene: SceneContent) -> Path:
    """The visible points, meshes and lines for other programs; texts and images are left out."""
    scene.check_content()
    parts = [part for kind in (Points, Mesh, Lines) for part in parts_of(list(scene.layers.values()), kind)]
    parts = [part for part in parts if len(part.colors)]
    if not parts:
        raise ValueError(f"{path}: the scene shows no points, meshes or lines, which are all that {path.suffix} holds")
    if path.suffix.lower() == ".ply":
        return write_ply(path, parts)
    layers = {name: layer.parts for name, layer in scene.layers.items() if layer.visible}
    path.write_bytes(glb_bytes(layers, np.zeros(3), to_y_up(scene.up)))
    return path


def _turntable(scene: SceneContent, size: tuple[int, int], view: View, fps: float, seconds: float) -> Iterator[np.ndarray]:
    """Pictures of one turn around the scene, at a constant distance."""
    scene.check_content()
    if not 0 < seconds <= 600:
        raise ValueError(f"seconds must be in 0..600, got {seconds}")
    content = turned_content(visible_content(list(scene.layers.values())), scene.up)
    for turned in turned_views(view, max(2, round(fps * seconds))):
        yield compose(scene, size, [turned], content)
