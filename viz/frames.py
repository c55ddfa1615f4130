"""Layers of cameras and of images from what `Scene.add_camera` and `Scene.add_image` are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from geo3d.viz.colors import as_array, as_colors
from geo3d.viz.layers import Labels, Layer, Lines, Mesh, Part, Picture, check_between

CAMERA_COLOR = (90, 60, 150)
MAX_PLANE_PIXELS = 30_000  # of an image that hangs in space; every way out can draw it, as a mesh with a vertex per pixel


def camera_layer(
    intrinsics: Any,
    *,
    image_size: tuple[int, int] | None,
    camera_from_world: Any,
    image: Any,
    depth: float,
    colors: Any,
    width: float,
    text: str | None,
) -> Layer:
    """See `Scene.add_camera`."""
    matrix, pose = as_intrinsics(intrinsics), as_pose(camera_from_world)
    pixels = None if image is None else as_image(image)
    if image_size is None and pixels is not None:
        image_size = (pixels.shape[1], pixels.shape[0])
    if image_size is None or min(image_size) <= 0:
        raise ValueError(f"image_size must be (width, height) in pixels, or give the image, got {image_size}")
    if not depth > 0:
        raise ValueError(f"depth must be positive, got {depth}")
    check_between(width, "width", 0, 64, " pixels")
    world_from_camera = np.linalg.inv(pose)
    right, bottom = image_size
    outline = [
        (0, 0),
        (right, 0),
        (right, bottom),
        (0, bottom),
        (0.4 * right, 0),
        (0.5 * right, -0.12 * bottom),
        (0.6 * right, 0),
    ]
    corners = _at_depth(np.array(outline, dtype=np.float64), matrix, depth, world_from_camera)
    eye = world_from_camera[:3, 3]
    edges = [(eye, corners[k]) for k in range(4)] + [(corners[k], corners[(k + 1) % 4]) for k in range(4)]
    edges += [(corners[4], corners[5]), (corners[5], corners[6])]  # the tip marks the upper side of the image
    rgb = as_colors(CAMERA_COLOR if colors is None else colors, 1)
    parts: tuple[Part, ...] = (Lines(np.array(edges), np.repeat(rgb, len(edges), axis=0), width),)
    if pixels is not None:
        parts += (_plane(pixels, matrix, depth, world_from_camera, image_size),)
    if text:
        parts += (Labels(eye[None, None], (text,), rgb),)
    return Layer("camera", parts)


def image_layer(
    image: Any,
    *,
    caption: str | None,
    intrinsics: Any,
    camera_from_world: Any,
    overlay: Sequence[Any],
    opacity: float,
) -> Layer:
    """See `Scene.add_image`."""
    check_between(opacity, "opacity", 0, 1)
    names = tuple(getattr(layer, "name", layer) for layer in overlay)
    if names and intrinsics is None:
        raise ValueError("overlay needs intrinsics, and camera_from_world unless the layers are in the camera's frame")
    matrix = None if intrinsics is None else as_intrinsics(intrinsics)
    return Layer("image", (Picture(as_image(image), caption, matrix, as_pose(camera_from_world), names, opacity),))


def as_image(image: Any) -> np.ndarray:
    """[H, W, 3] uint8 of [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], uint8 or floats in 0..1; alpha goes onto white.

    Raises:
        ValueError: another shape, or floats outside 0..1.
    """
    array = as_array(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(f"image must be [H, W] or [H, W, 1, 3 or 4], got {list(as_array(image).shape)}")
    if array.dtype.kind == "f":
        if not ((array >= 0) & (array <= 1)).all():
            raise ValueError("image must be uint8 or floats in 0..1")
        array = np.round(array * 255)
    elif array.dtype != np.uint8:
        raise ValueError(f"image must be uint8 or floats in 0..1, got {array.dtype}")
    if array.shape[2] == 4:
        alpha = array[..., 3:] / 255.0
        array = np.round(array[..., :3] * alpha + 255 * (1 - alpha))
    return np.ascontiguousarray(np.broadcast_to(array.astype(np.uint8), (*array.shape[:2], 3)))


def as_intrinsics(intrinsics: Any) -> np.ndarray:
    """[3, 3] float64 pinhole matrix in pixels.

    Raises:
        ValueError: another shape, or no focal lengths.
    """
    matrix = as_array(intrinsics).astype(np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"intrinsics must be [3, 3] with positive focal lengths, got {list(matrix.shape)}")
    return matrix


def as_pose(camera_from_world: Any) -> np.ndarray:
    """[4, 4] float64 rigid motion, of [4, 4] or [3, 4]; the identity for None.

    Raises:
        ValueError: another shape, or not a rotation and a shift.
    """
    if camera_from_world is None:
        return np.eye(4)
    pose = as_array(camera_from_world).astype(np.float64)
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0, 0, 0, 1]]])
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"camera_from_world must be [4, 4] or [3, 4], got {list(pose.shape)}")
    turn = pose[:3, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
        raise ValueError("camera_from_world must be a rotation and a shift, without scale or mirroring")
    return pose


def _at_depth(pixels: np.ndarray, intrinsics: np.ndarray, depth: float, world_from_camera: np.ndarray) -> np.ndarray:
    """Pixels [N, 2] at a depth before the camera -> [N, 3] in the world."""
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(intrinsics).T
    return rays * depth @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]


def _plane(
    pixels: np.ndarray, intrinsics: np.ndarray, depth: float, world_from_camera: np.ndarray, image_size: tuple[int, int]
) -> Mesh:
    """The image as a mesh before the camera, with a vertex for each pixel of a smaller copy."""
    from PIL import Image

    height, width = pixels.shape[:2]
    shrink = min(1.0, math.sqrt(MAX_PLANE_PIXELS / (width * height)))
    columns, rows = max(2, round(width * shrink)), max(2, round(height * shrink))
    small = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX))
    across, down = np.linspace(0, image_size[0], columns), np.linspace(0, image_size[1], rows)
    places = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    vertices = _at_depth(places, intrinsics, depth, world_from_camera)
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    faces = np.concatenate(
        [np.stack([first, first + columns, first + 1], 1), np.stack([first + 1, first + columns, first + columns + 1], 1)]
    )
    return Mesh(vertices, faces, small.reshape(-1, 3), flat=True, lit=False)
