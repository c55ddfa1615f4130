"""From layers to one view as a picture: camera, light, size of points, lines and texts on top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geo3d.viz import raycast, shading
from geo3d.viz.annotations import label_size, write_labels
from geo3d.viz.camera import AXES, Camera, View, fit_camera, pinhole_camera
from geo3d.viz.layers import Labels, Layer, Lines, Mesh, Picture, Points, extent_points, parts_of
from geo3d.viz.strokes import ribbons

MARGIN = 0.04  # of the shorter side stays empty at each border
DISC_SIDES = ((50_000, 10), (300_000, 6))  # up to this many points, each is a polygon of so many sides; beyond, a square
IN_FRONT = 1.005  # a line is hidden by what is nearer than this: edges in a surface are seen


def draw_view(
    layers: Sequence[Layer],
    up: str,
    view: View,
    size: tuple[int, int],
    background: tuple[int, int, int],
    content: np.ndarray | None = None,
) -> np.ndarray:
    """One view as [height, width, 3] uint8: drawn two or three times larger, shaded by depth, then averaged.

    Args:
        layers: what to draw; those that are not visible are left out.
        up: the axis that points up.
        view: where to look from.
        size: (width, height) in pixels.
        background: 0..255.
        content: [N, 3] points that must be in the picture, instead of those of the layers.
    """
    factor = supersampling(size)
    backdrop = np.broadcast_to(np.array(background, np.float32), (size[1] * factor, size[0] * factor, 3))
    camera, origin, sizes = frame_layers(layers, up, view, (size[0] * factor, size[1] * factor), factor, content)
    return _draw(layers, camera, origin, sizes, AXES[up], factor, backdrop, 1.0)


def draw_from(
    layers: Sequence[Layer], up: str, camera: Camera, origin: np.ndarray, background: tuple[int, int, int]
) -> np.ndarray:
    """The picture of a camera that is given, around an origin [3]; [height, width, 3] uint8."""
    factor = supersampling((camera.width, camera.height))
    large = replace(camera, focal=camera.focal * factor, width=camera.width * factor, height=camera.height * factor)
    backdrop = np.broadcast_to(np.array(background, np.float32), (large.height, large.width, 3))
    sizes = _point_sizes(parts_of(layers, Points), large, origin, factor)
    return _draw(layers, large, origin, sizes, AXES[up], factor, backdrop, 1.0)


def draw_into_image(picture: Picture, layers: Sequence[Layer], up: str, size: tuple[int, int]) -> np.ndarray:
    """An image at (width, height) pixels as [height, width, 3] uint8, with layers drawn into it as its camera saw them."""
    from PIL import Image

    if not layers or picture.intrinsics is None or picture.camera_from_world is None:
        return np.asarray(Image.fromarray(picture.pixels).resize(size, Image.Resampling.LANCZOS))
    factor = supersampling(size)
    large = (size[0] * factor, size[1] * factor)
    backdrop = np.asarray(Image.fromarray(picture.pixels).resize(large, Image.Resampling.BICUBIC)).astype(np.float32)
    scale = (large[0] / picture.pixels.shape[1], large[1] / picture.pixels.shape[0])
    camera = pinhole_camera(picture.intrinsics, picture.camera_from_world, scale, large)
    sizes = _point_sizes(parts_of(layers, Points), camera, np.zeros(3), factor)
    return _draw(layers, camera, np.zeros(3), sizes, AXES[up], factor, backdrop, picture.opacity)


def supersampling(size: tuple[int, int]) -> int:
    """How many times larger a picture is drawn before it is averaged."""
    return 3 if max(size) <= 640 else 2


def visible_content(layers: Sequence[Layer]) -> np.ndarray:
    """[N, 3] all that a picture of the visible layers must show; N = 0 where there is nothing."""
    return np.concatenate(
        [np.empty((0, 3)), *(extent_points(part) for layer in layers if layer.visible for part in layer.parts)]
    )


def frame_layers(
    layers: Sequence[Layer], up: str, view: View, size: tuple[int, int], factor: float, content: np.ndarray | None = None
) -> tuple[Camera, np.ndarray, list[float]]:
    """The camera around an origin [3], that origin, and the width of each part of points in pixels of the picture drawn.

    A point's disc sticks out, so the camera is placed twice: for the sizes, and then with room for them.
    """
    content, origin = _framed(visible_content(layers) if content is None else content, view)
    margin = MARGIN * min(size)
    camera = fit_camera(content, view, up, size, margin)
    sizes = _point_sizes(parts_of(layers, Points), camera, origin, factor)
    widths = [part.width * factor for part in parts_of(layers, Lines)]
    plates = 1.6 * factor * label_size(int(size[0] / factor), int(size[1] / factor)) if parts_of(layers, Labels) else 0.0
    sticking_out = max(1.2 * max(sizes, default=0.0), 0.6 * max(widths, default=0.0), plates)
    return fit_camera(content, view, up, size, margin + sticking_out), origin, sizes


def _draw(
    layers: Sequence[Layer],
    camera: Camera,
    origin: np.ndarray,
    sizes: Sequence[float],
    up: np.ndarray,
    factor: int,
    backdrop: np.ndarray,
    opacity: float,
) -> np.ndarray:
    """Surfaces, translucent surfaces and lines over a backdrop [H, W, 3], averaged by `factor`, then texts."""
    meshes = parts_of(layers, Mesh)
    solid = [_disc_triangles(*pair, camera, origin, up) for pair in zip(parts_of(layers, Points), sizes, strict=True)]
    solid += [_mesh_triangles(mesh, camera, origin, up) for mesh in meshes if mesh.opacity == 1]
    picture, depth = backdrop, np.full(backdrop.shape[:2], np.inf, dtype=np.float32)
    if solid:
        colors, depth = raycast.cast(raycast.joined(solid), camera.focal, camera.width, camera.height, camera.middle)
        shade = shading.depth_shade(depth, camera.focal, radii=(factor, 4 * factor, 12 * factor))
        picture = _over(backdrop, colors * shade[..., None], opacity * np.isfinite(depth))
    glass = [_glass_triangles(mesh, camera, origin, up) for mesh in meshes if 0 < mesh.opacity < 1]
    if glass:
        colors, near = raycast.cast(raycast.joined(glass), camera.focal, camera.width, camera.height, camera.middle)
        picture = _over(picture, colors[..., :3], colors[..., 3] / 255 * (near < depth))
    lines = [part for part in parts_of(layers, Lines) if len(part.segments)]
    strokes = ribbons(lines, camera, origin, factor) if lines else None
    if strokes is not None:
        colors, near = raycast.cast(strokes, camera.focal, camera.width, camera.height, camera.middle)
        picture = _over(picture, colors[..., :3], np.where(near < IN_FRONT * depth, colors[..., 3], colors[..., 4]) / 255)
    small = np.round(shading.shrink(picture, factor)).astype(np.uint8)
    return write_labels(small, parts_of(layers, Labels), camera, origin, factor)


def _over(below: np.ndarray, colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours [H, W, 3] with opacity [H, W] in 0..1 over a picture."""
    alpha = alpha[..., None].astype(np.float32)
    result: np.ndarray = below * (1 - alpha) + colors * alpha
    return result


def _framed(content: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """The points [N, 3] of the content that the view asks for, around the origin [3] that was subtracted from them."""
    if view.frame is not None:
        content = np.stack(np.meshgrid(*np.transpose(view.frame)), axis=-1).reshape(-1, 3).astype(np.float64)
    elif not len(content):
        content = np.zeros((1, 3))
    elif view.coverage < 1:
        distance = np.abs(content - np.median(content, axis=0)).max(axis=1)
        content = content[distance <= np.quantile(distance, view.coverage)]
    origin = (content.min(axis=0) + content.max(axis=0)) / 2
    return content - origin, origin


def _point_sizes(points: Sequence[Points], camera: Camera, origin: np.ndarray, factor: float) -> list[float]:
    """Width of each part's points in pixels of the picture that is drawn."""
    return [_fitting_size(part.positions - origin, camera) if part.size is None else part.size * factor for part in points]


def _fitting_size(positions: np.ndarray, camera: Camera) -> float:
    """Point size in pixels at which neighbouring points touch: the area they cover over their number."""
    local = camera.to_camera(positions)
    pixels = camera.project(positions[local[:, 2] > 0])
    inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    cell = min(camera.width, camera.height) / 64
    count = max(int(inside.sum()), 1)
    columns, rows = (pixels[inside] // cell).astype(np.int64).T
    covered = len(np.unique(columns * camera.height + rows)) * cell**2
    shorter = min(camera.width, camera.height)
    return float(np.clip(1.5 * math.sqrt(covered / count), 0.0022 * shorter, 0.02 * shorter))


def _to_frame(camera: Camera) -> np.ndarray:
    """[3, 3] from the scene's directions to x right, y up, z backward; a stretched picture is a stretched world."""
    return camera.axes.T * (1.0, -camera.stretch, -1.0)


def _disc_triangles(points: Points, size: float, camera: Camera, origin: np.ndarray, up: np.ndarray) -> raycast.Triangles:
    """Points lit and in the camera's frame."""
    positions, colors, normals = points.positions - origin, points.colors, points.normals
    if normals is not None:
        colors = shading.light(colors, positions, normals, camera, up)
        normals = normals @ _to_frame(camera)
    return _discs((positions - camera.eye) @ _to_frame(camera), colors, normals, size / 2 / camera.focal)


def _mesh_triangles(mesh: Mesh, camera: Camera, origin: np.ndarray, up: np.ndarray) -> raycast.Triangles:
    """A mesh lit and in the camera's frame."""
    corners, normals = shading.triangle_corners(mesh.vertices - origin, mesh.faces, flat=mesh.flat)
    colors = mesh.colors[mesh.faces.reshape(-1)]
    if mesh.lit:
        colors = shading.light(colors, corners, normals, camera, up)
    faces = np.arange(len(corners)).reshape(-1, 3)
    return raycast.Triangles(((corners - camera.eye) @ _to_frame(camera)).astype(np.float32), colors, faces)


def _glass_triangles(mesh: Mesh, camera: Camera, origin: np.ndarray, up: np.ndarray) -> raycast.Triangles:
    """Triangles of a mesh for the camera, with the opacity as a fourth channel of the colours in 0..255."""
    triangles = _mesh_triangles(mesh, camera, origin, up)
    opacity = np.full((len(triangles.colors), 1), round(255 * mesh.opacity), dtype=np.uint8)
    return raycast.Triangles(triangles.vertices, np.concatenate([triangles.colors, opacity], axis=1), triangles.faces)


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
