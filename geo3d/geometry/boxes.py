"""Boxes in the LiDAR frame: corners, rigid motion, angles, KITTI's camera boxes and rectangles in the image.

Boxes are [x, y, z, dx, dy, dz, yaw] or [..., vx, vy] in metres, radians and metres per second: geometric centre, sizes along and
across the heading and up, yaw counter-clockwise from +x about +z. Every function takes numpy arrays or torch tensors and returns
the same kind.

Corners, bottom and top ring counter-clockwise from above, starting at the front left:

        5---------4          4..7 lie above 0..3
       /|        /|          front face (heading): 0 3 7 4
      6---------7 |          left side:            0 1 5 4
      | 1-------|-0
      |/        |/           heading -->
      2---------3
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
FRONT_FACE = (0, 3, 7, 4)
CORNER_SIGNS = ((1, 1, -1), (-1, 1, -1), (-1, -1, -1), (1, -1, -1), (1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, 1))
NEAR = 0.1  # metres before the camera where edges are cut off; behind it nothing projects


def box_corners(boxes: Array) -> Array:
    """Corners [B, 8, 3] of boxes [B, 7 or more], in the order drawn above; `EDGES` are the pairs that a line joins."""
    _check("box_corners", boxes)
    library = _library(boxes)
    local = _like(boxes, np.asarray(CORNER_SIGNS) / 2) * boxes[:, None, 3:6]  # [B, 8, 3]
    cos, sin = library.cos(boxes[:, 6:7]), library.sin(boxes[:, 6:7])
    turned = (local[..., 0] * cos - local[..., 1] * sin, local[..., 0] * sin + local[..., 1] * cos, local[..., 2])
    return library.stack(turned, -1) + boxes[:, None, :3]


def wrap_angle(angle: Array) -> Array:
    """Angles in [-pi, pi) that point in the same direction."""
    wrapped = _library(angle).remainder(angle + np.pi, 2 * np.pi) - np.pi
    return _library(angle).where(wrapped >= np.pi, -np.pi, wrapped)  # rounding of tiny negative angles reaches pi


def transform_boxes(boxes: Array, target_from_source: Any) -> Array:
    """Boxes in another frame of the same scale.

    The yaw of the result is that of the heading as seen from above, so boxes stay upright where the frames are tilted to each
    other. Velocities turn with the frame.

    Args:
        boxes: [B, 7] or [B, 9] in the source frame.
        target_from_source: [4, 4] rotation and translation.

    Raises:
        ValueError: shapes that do not fit, or a matrix that is not rigid.
    """
    _check("transform_boxes", boxes)
    matrix = check_rigid("target_from_source", target_from_source)
    library = _library(boxes)
    rotation, translation = _like(boxes, matrix[:3, :3]), _like(boxes, matrix[:3, 3])
    centers = boxes[:, :3] @ rotation.T + translation
    cos, sin = library.cos(boxes[:, 6]), library.sin(boxes[:, 6])
    forward = cos * rotation[0, 0] + sin * rotation[0, 1]
    left = cos * rotation[1, 0] + sin * rotation[1, 1]
    columns = [centers, boxes[:, 3:6], library.arctan2(left, forward)[:, None]]
    if boxes.shape[1] == 9:
        columns.append(boxes[:, 7:9] @ rotation[:2, :2].T)
    return library.concatenate(columns, 1)


def boxes_from_kitti(boxes_camera: Array, lidar_from_camera: Any) -> Array:
    """LiDAR boxes [B, 7] of KITTI's labels.

    Args:
        boxes_camera: [B, 7] as x y z length height width rotation_y in the rectified camera frame (x right, y down, z forward);
            x y z is the middle of the bottom face and rotation_y turns +x towards -z.
        lidar_from_camera: [4, 4], the rectified camera frame to the LiDAR frame.

    Raises:
        ValueError: shapes that do not fit, or a matrix that is not rigid.
    """
    _check("boxes_from_kitti", boxes_camera)
    matrix = check_rigid("lidar_from_camera", lidar_from_camera)
    library = _library(boxes_camera)
    rotation, translation = _like(boxes_camera, matrix[:3, :3]), _like(boxes_camera, matrix[:3, 3])
    x, y, z, length, height, width, turn = (boxes_camera[:, column] for column in range(7))
    centers = library.stack((x, y - height / 2, z), 1) @ rotation.T + translation
    heading = library.stack((library.cos(turn), 0 * turn, -library.sin(turn)), 1) @ rotation.T
    yaw = library.arctan2(heading[:, 1], heading[:, 0])
    return library.concatenate((centers, library.stack((length, width, height, yaw), 1)), 1)


def boxes_to_kitti(boxes: Array, camera_from_lidar: Any) -> Array:
    """KITTI's camera boxes [B, 7] (x y z length height width rotation_y) of LiDAR boxes; undoes `boxes_from_kitti`.

    Args:
        boxes: [B, 7 or more] in the LiDAR frame.
        camera_from_lidar: [4, 4], to the rectified camera frame.

    Raises:
        ValueError: shapes that do not fit, or a matrix that is not rigid.
    """
    _check("boxes_to_kitti", boxes)
    matrix = check_rigid("camera_from_lidar", camera_from_lidar)
    library = _library(boxes)
    rotation, translation = _like(boxes, matrix[:3, :3]), _like(boxes, matrix[:3, 3])
    centers = boxes[:, :3] @ rotation.T + translation
    length, width, height, yaw = (boxes[:, column] for column in range(3, 7))
    # The camera's heading lies in its own ground plane. Of all directions there, take the one that `boxes_from_kitti` turns back
    # into this yaw: in the LiDAR frame it is perpendicular to (-sin yaw, cos yaw, 0).
    across = library.stack((-library.sin(yaw), library.cos(yaw), 0 * yaw), 1) @ rotation.T
    turn = library.arctan2(across[:, 0], across[:, 2])
    bottom = library.stack((centers[:, 0], centers[:, 1] + height / 2, centers[:, 2]), 1)
    return library.concatenate((bottom, library.stack((length, height, width, turn), 1)), 1)


def project_boxes(boxes: Array, image_from_lidar: Any, image_size: tuple[int, int]) -> tuple[Array, Array]:
    """Rectangles around the boxes in an image, without what lies outside it or behind the camera.

    Args:
        boxes: [B, 7 or more] in the LiDAR frame.
        image_from_lidar: [3, 4] projection to pixels; see `geo3d.geometry.cameras.Camera`.
        image_size: width and height in pixels.

    Returns:
        [B, 4] left, top, right, bottom in pixels, within 0..width - 1 and 0..height - 1, and [B] bool, True where some of the box
        is in the image. The rectangle of a box that is not is all zero.

    Raises:
        ValueError: shapes that do not fit.
    """
    matrix = np.asarray(image_from_lidar, dtype=np.float64)
    if matrix.shape != (3, 4):
        raise ValueError(f"project_boxes: image_from_lidar must be [3, 4], got {list(matrix.shape)}")
    corners = np.asarray(box_corners(boxes), dtype=np.float64)
    pixels = corners @ matrix[:, :3].T + matrix[:, 3]  # [B, 8, 3] homogeneous
    first, second = np.asarray(EDGES).T
    depth = pixels[..., 2] - NEAR
    crosses = (depth[:, first] > 0) != (depth[:, second] > 0)
    share = np.where(crosses, depth[:, first] / np.where(crosses, depth[:, first] - depth[:, second], 1), 0)[..., None]
    cuts = pixels[:, first] * (1 - share) + pixels[:, second] * share
    pixels = np.concatenate((pixels, cuts), 1)  # [B, 20, 3]
    seen = np.concatenate((depth > 0, crosses), 1)
    positions = pixels[..., :2] / np.where(seen, pixels[..., 2], 1)[..., None]
    low = np.where(seen[..., None], positions, np.inf).min(1)
    high = np.where(seen[..., None], positions, -np.inf).max(1)
    last = np.asarray(image_size, dtype=np.float64) - 1
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    visible = (high > low).all(1)
    rectangles = np.where(visible[:, None], np.concatenate((low, high), 1), 0)
    if isinstance(boxes, Tensor):
        return _like(boxes, rectangles), torch.as_tensor(visible, device=boxes.device)
    return rectangles.astype(boxes.dtype), visible


def check_rigid(name: str, matrix: Any) -> np.ndarray:
    """A [4, 4] float64 array; raises ValueError, in the name of the argument, unless it is a rotation and a translation."""
    array = np.asarray(matrix, dtype=np.float64)
    if array.shape != (4, 4):
        raise ValueError(f"{name} must be [4, 4], got {list(array.shape)}")
    rotation = array[:3, :3]
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
    if not rigid or not np.allclose(array[3], (0, 0, 0, 1)) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a rotation and a translation, got {np.round(array, 3).tolist()}")
    return array


def _check(name: str, boxes: Any) -> None:
    if not isinstance(boxes, np.ndarray | Tensor) or boxes.ndim != 2 or boxes.shape[1] < 7:
        raise ValueError(
            f"{name}: boxes must be [B, 7] or [B, 9], got {list(getattr(boxes, 'shape', ())) or type(boxes).__name__}"
        )


def _library(values: Any) -> Any:
    return torch if isinstance(values, Tensor) else np


def _like(values: Array, other: np.ndarray) -> Array:
    if isinstance(values, Tensor):
        return torch.as_tensor(other, dtype=values.dtype, device=values.device)
    return other.astype(values.dtype)
