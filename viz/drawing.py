"""From a scene's arrays to pictures and windows: camera, light, size of points, and the finishing of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from geo3d.viz import raycast, shading, window
from geo3d.viz.camera import AXES, Camera, View, fit_camera
from geo3d.viz.scene import Mesh, Points

MARGIN = 0.04  # of the shorter side stays empty at each border
DISC_SIDES = ((50_000, 10), (300_000, 6))  # up to this many points, each is a polygon of so many sides; beyond, a square


def draw_layers(
    layers: Sequence[Points | Mesh], up: str, view: View, size: tuple[int, int], background: tuple[int, int, int]
) -> np.ndarray:
    """One view as [height, width, 3] uint8: drawn two or three times larger, shaded by depth, then averaged."""
    factor = 3 if max(size) <= 640 else 2
    width, height = size[0] * factor, size[1] * factor
    content, origin = _content(layers, view)
    camera, sizes = _camera_and_sizes(layers, content, origin, view, up, (width, height), factor)
    parts = [_triangles(layer, camera, origin, AXES[up], point) for layer, point in zip(layers, sizes, strict=True)]
    colors, depth = raycast.cast(raycast.joined(parts), camera.focal, width, height)
    shade = shading.depth_shade(depth, camera.focal, radii=(factor, 4 * factor, 12 * factor))
    shaded: np.ndarray = np.where(np.isfinite(depth)[..., None], colors * shade[..., None], np.array(background, np.float32))
    return np.round(shading.shrink(shaded, factor)).astype(np.uint8)


def show_layers(
    layers: Sequence[tuple[str, Points | Mesh]],
    up: str,
    view: View,
    size: tuple[int, int],
    background: tuple[int, int, int],
    title: str,
) -> None:
    """Opens a window; see Scene.show."""
    parts = [layer for _, layer in layers]
    content, origin = _content(parts, view)
    camera, sizes = _camera_and_sizes(parts, content, origin, view, up, size, 1)
    distance = float(np.median(camera.to_camera(content)[:, 2]))
    red, green, blue = (value / 255 for value in background)
    window.show_window(
        window.Window(
            parts=tuple(_window_part(name, layer, origin, point) for (name, layer), point in zip(layers, sizes, strict=True)),
            title=title,
            size=size,
            background=(red, green, blue),
            eye=camera.eye,
            target=camera.eye + distance * camera.axes[2],
            up=AXES[up],
        )
    )


def _positions(layer: Points | Mesh) -> np.ndarray:
    """What the picture must show of a layer: its points, or the vertices that its faces use."""
    return layer.positions if isinstance(layer, Points) else layer.vertices[np.unique(layer.faces)]


def _content(layers: Sequence[Points | Mesh], view: View) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, 3] that the picture must show, around the origin [3] that was subtracted from them."""
    if view.frame is None:
        content = np.concatenate([_positions(layer) for layer in layers])
        if view.coverage < 1:
            distance = np.abs(content - np.median(content, axis=0)).max(axis=1)
            content = content[distance <= np.quantile(distance, view.coverage)]
    else:
        content = np.stack(np.meshgrid(*np.transpose(view.frame)), axis=-1).reshape(-1, 3).astype(np.float64)
    origin = (content.min(axis=0) + content.max(axis=0)) / 2
    return content - origin, origin


def _camera_and_sizes(
    layers: Sequence[Points | Mesh],
    content: np.ndarray,
    origin: np.ndarray,
    view: View,
    up: str,
    size: tuple[int, int],
    factor: int,
) -> tuple[Camera, list[float]]:
    """The camera, and each layer's point size in pixels of the picture that is drawn (0 for meshes).

    A point's disc sticks out, so the camera is placed twice: for the sizes, and then with room for them.
    """
    margin = MARGIN * min(size)
    fixed = [layer.size if isinstance(layer, Points) else 0.0 for layer in layers]
    camera = fit_camera(content, view, up, size, margin)
    sizes = [
        _fitting_size(_positions(layer) - origin, camera) if size_given is None else size_given * factor
        for layer, size_given in zip(layers, fixed, strict=True)
    ]
    return fit_camera(content, view, up, size, margin + 1.2 * max(sizes)), sizes


def _fitting_size(positions: np.ndarray, camera: Camera) -> float:
    """Point size in pixels at which neighbouring points touch: the area they cover over their number."""
    local = camera.to_camera(positions)
    pixels = camera.project(positions[local[:, 2] > 0])
    inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    cell = min(camera.width, camera.height) / 64
    count = max(int(inside.sum()), 1)
    covered = len(np.unique(np.floor(pixels[inside] / cell), axis=0)) * cell**2
    shorter = min(camera.width, camera.height)
    return float(np.clip(1.5 * math.sqrt(covered / count), 0.0022 * shorter, 0.02 * shorter))


def _triangles(
    layer: Points | Mesh, camera: Camera, origin: np.ndarray, up: np.ndarray, point_size: float
) -> raycast.Triangles:
    """A layer lit and in the camera's frame (x right, y up, z backward)."""
    to_frame = camera.axes.T * (1.0, -1.0, -1.0)  # from the scene's directions
    if isinstance(layer, Points):
        positions, colors, normals = layer.positions - origin, layer.colors, layer.normals
        if normals is not None:
            colors = shading.light(colors, positions, normals, camera, up)
            normals = normals @ to_frame
        local = (positions - camera.eye) @ to_frame
        return _discs(local, colors, normals, point_size / 2 / camera.focal)
    corners, normals = shading.triangle_corners(layer.vertices - origin, layer.faces)
    colors = shading.light(layer.colors[layer.faces.reshape(-1)], corners, normals, camera, up)
    faces = np.arange(len(corners)).reshape(-1, 3)
    return raycast.Triangles(((corners - camera.eye) @ to_frame).astype(np.float32), colors, faces)


def _discs(local: np.ndarray, colors: np.ndarray, normals: np.ndarray | None, angle: float) -> raycast.Triangles:
    """Points in the camera's frame as small discs, polygons of fewer sides the more there are.

    Without normals they face the viewer and are equally large in the picture (`angle`: radius over distance); with
    normals they lie in the surface, so that they close it, and are equally large in space.
    """
    distance = -local[:, 2:]
    if normals is None:
        radius = angle * distance
        across, along = np.broadcast_to((1.0, 0.0, 0.0), local.shape), np.broadcast_to((0.0, 1.0, 0.0), local.shape)
    else:
        radius = 2.2 * angle * np.broadcast_to(np.median(distance), distance.shape)
        to_eye = -local / np.linalg.norm(local, axis=1, keepdims=True)
        facing = np.where((normals * to_eye).sum(axis=1, keepdims=True) < 0, -normals, normals)
        facing = facing + 0.4 * to_eye  # turned a little to the viewer: a disc seen from its edge would vanish
        across = np.cross(facing, np.where(np.abs(facing[:, :1]) < 0.6, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        along = np.cross(facing, across)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    sides = next((sides for limit, sides in DISC_SIDES if len(local) <= limit), 4)
    turns = np.arange(sides) * 2 * math.pi / sides
    outline = np.cos(turns)[:, None] * across[:, None] + np.sin(turns)[:, None] * along[:, None]  # [N, sides, 3]
    corners = (local[:, None] + radius[:, None] * outline).reshape(-1, 3).astype(np.float32)
    fan = np.array([[0, k, k + 1] for k in range(1, sides - 1)])
    faces = (fan + sides * np.arange(len(local))[:, None, None]).reshape(-1, 3)
    return raycast.Triangles(corners, np.repeat(colors, sides, axis=0), faces)


def _window_part(name: str, layer: Points | Mesh, origin: np.ndarray, point_size: float) -> window.Part:
    """A layer as it is, around the origin, for Open3D to light."""
    if isinstance(layer, Points):
        return window.Part(name, layer.positions - origin, layer.colors, layer.normals, None, point_size)
    corners, normals = shading.triangle_corners(layer.vertices - origin, layer.faces)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    faces = np.arange(len(corners)).reshape(-1, 3)
    return window.Part(name, corners, layer.colors[layer.faces.reshape(-1)], normals, faces, point_size)
