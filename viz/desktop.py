"""From scenes to the desktop window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geo3d.viz import shading
from geo3d.viz.camera import AXES, Camera, View, as_view, orbit_around
from geo3d.viz.content import SceneContent
from geo3d.viz.drawing import draw_from, frame_layers, visible_content
from geo3d.viz.layers import Labels, Layer, Lines, Mesh, Part, Points, extent_points
from geo3d.viz.pictures import write_picture
from geo3d.viz.window import PANEL_WIDTH, Request, Shape, Window, WindowLayer, WindowScene, show_window

PICK_RADIUS = 6  # pixels
POINT_SIZE = 2.5  # pixels, of points that are hidden at first


def show_scenes(
    scenes: Sequence[SceneContent], *, size: tuple[int, int], view: str | View, actions: Sequence[str] = ()
) -> None:
    """See `Scene.show`; `actions` as in `Window`."""
    first, direction = scenes[0], as_view(view)
    first.check_content()
    layers = list(first.layers.values())
    seen = (max(size[0] - PANEL_WIDTH, 1), size[1])  # by the 3D view
    camera, origin, _ = frame_layers(layers, first.up, direction, seen, 1)
    fov_deg = math.degrees(2 * math.atan(0.5 * camera.height / camera.focal))  # from top to bottom, as Open3D takes it
    orbit = orbit_around(camera, first.up, visible_content(layers) - origin)
    red, green, blue = (value / 255 for value in first.background)

    def answer(request: Request) -> WindowScene | str:
        scene = scenes[request.index]
        if request.ask == "scene":
            return _window_scene(scene, origin, direction, seen)
        camera = _camera(request, fov_deg)
        if request.ask == "picture":
            return _save_picture(scene, request, camera, origin)
        return _picked(scene, request, camera, origin)

    window = Window(
        title=first.title or "geo3d",
        count=len(scenes),
        size=size,
        background=(red, green, blue),
        eye=camera.eye,
        target=orbit.target,
        up=-camera.axes[1],
        fov_deg=fov_deg,
        origin=origin,
        actions=tuple(actions),
    )
    show_window(window, answer)


def _camera(request: Request, fov_deg: float) -> Camera:
    """The window's camera."""
    pose, (width, height) = np.array(request.pose), request.size
    focal = 0.5 * height / np.tan(np.radians(fov_deg) / 2)
    return Camera(pose[:3, :3].T * ((1,), (-1,), (-1,)), pose[:3, 3], float(focal), width, height)


def _save_picture(scene: SceneContent, request: Request, camera: Camera, origin: np.ndarray) -> str:
    """Writes what the window shows; says where."""
    layers = [layer.shown(True) for name, layer in scene.layers.items() if name not in request.hidden]
    free = (Path(f"geo3d-{number:03d}.png") for number in range(1, 10_000))
    path = Path(request.path) if request.path else next(name for name in free if not name.exists())
    try:
        write_picture(path, draw_from(layers, scene.up, camera, origin, scene.background))
    except OSError as error:
        return f"could not write {path}: {error}"
    return f"wrote {path}"


def _picked(scene: SceneContent, request: Request, camera: Camera, origin: np.ndarray) -> str:
    """The nearest of the points, vertices and line ends within a few pixels of the cursor; says which."""
    best, text = np.inf, "no point there"
    for name, layer in scene.layers.items():
        for part in layer.parts if name not in request.hidden else ():
            places = extent_points(part)
            local = camera.to_camera(places - origin)
            with np.errstate(divide="ignore", invalid="ignore"):
                pixels = camera.project(places - origin)
            near = (np.abs(pixels - request.pixel).max(axis=1) <= PICK_RADIUS) & (local[:, 2] > 0)
            if near.any():
                row = int(np.where(near, local[:, 2], np.inf).argmin())
                if local[row, 2] < best:
                    best, text = local[row, 2], "{}\nx {:.3f}  y {:.3f}  z {:.3f}".format(name, *places[row])
    return text


def _window_scene(scene: SceneContent, origin: np.ndarray, view: View, size: tuple[int, int]) -> WindowScene:
    """A scene as the window's process gets it; images are left out."""
    layers = list(scene.layers.values())
    sizes = iter(frame_layers(layers, scene.up, view, size, 1)[2])
    return WindowScene(
        title=scene.title or "",
        layers=tuple(
            _window_layer(
                name, layer, origin, AXES[scene.up], [next(sizes) for part in layer.parts if isinstance(part, Points)]
            )
            if layer.visible
            else _window_layer(name, layer, origin, AXES[scene.up], [POINT_SIZE] * len(layer.parts))
            for name, layer in scene.layers.items()
            if layer.kind != "image"
        ),
        legend=tuple(scene.legend.items()),
    )


def _window_layer(name: str, layer: Layer, origin: np.ndarray, up: np.ndarray, sizes: Sequence[float]) -> WindowLayer:
    """A layer around the origin, for Open3D to light."""
    rest = iter(sizes)
    shapes = tuple(
        _shape(part, origin, next(rest) if isinstance(part, Points) else 0.0)
        for part in layer.parts
        if isinstance(part, (Points, Mesh)) or (isinstance(part, Lines) and len(part.segments))
    )
    texts: list[tuple[str, tuple[float, float, float]]] = []
    for part in layer.parts:
        if isinstance(part, Labels):
            for text, anchor in zip(part.texts, part.anchors(up) - origin, strict=True):
                texts.append((text, (float(anchor[0]), float(anchor[1]), float(anchor[2]))))
    return WindowLayer(name, shapes, tuple(texts), layer.visible)


def _shape(part: Part, origin: np.ndarray, point_size: float) -> Shape:
    if isinstance(part, Points):
        return Shape(part.positions - origin, part.colors, part.normals, None, point_size)
    if isinstance(part, Mesh):
        vertices, normals, colors, faces = shading.shared_corners(part)
        return Shape(vertices - origin, colors, normals, faces, 0.0, part.opacity, part.lit)
    assert isinstance(part, Lines)
    cells = np.arange(2 * len(part.segments)).reshape(-1, 2)
    return Shape(part.segments.reshape(-1, 3) - origin, part.colors, None, cells, part.width)
