"""Crops by a virtual camera: turned so that it looks at the object, with a focal length that makes it fill the crop.

A crop cut out of an image shows an object as seen from aside; turning the camera first takes this out, and the object's points turn with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class VirtualCamera:
    """A camera at the same place that sees a square crop.

    Attributes:
        camera_matrix: [3, 3], pixels of the crop.
        image_transform: [3, 3] homography from pixels of the image to those of the crop.
        rotation: [3, 3] from the camera's axes to those of the virtual one.
        side: of the crop, pixels.
    """

    camera_matrix: np.ndarray
    image_transform: np.ndarray
    rotation: np.ndarray
    side: int

    def to_crop(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] of the image in the crop."""
        return _mapped(self.image_transform, pixels)

    def to_image(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] of the crop in the image."""
        return _mapped(np.linalg.inv(self.image_transform), pixels)

    def turn(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] of the camera's frame in that of the virtual camera."""
        return points @ self.rotation.T

    def turn_back(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] of the virtual camera's frame in that of the camera."""
        return points @ self.rotation

    def warp(self, image: np.ndarray) -> np.ndarray:
        """The crop [side, side, C] of an image [H, W, C]: bilinear, black outside."""
        import cv2

        return cv2.warpPerspective(image, self.image_transform, (self.side, self.side), flags=cv2.INTER_LINEAR)


def virtual_camera(
    camera_matrix: np.ndarray,
    center: Sequence[float] | np.ndarray,
    size: Sequence[float] | np.ndarray,
    side: int,
    angle: float = 0.0,
    as_released: bool = False,
) -> VirtualCamera:
    """The virtual camera for a box in an image.

    Args:
        camera_matrix: [3, 3] of the image; a skew is not looked at.
        center, size: of the box, pixels (x, y).
        side: of the crop; the longer side of the box fills it, the aspect is kept.
        angle: turns the crop about its middle, radians.
        as_released: put the principal point at side / 2 and turn pixels rather than rays, as simpleHand and ReJSHand do: half a pixel
            from the middle of the crop, and image and points part where the two focal lengths differ.

    Raises:
        ValueError: a box without extent, or focal lengths that are not above 0.
    """
    matrix = np.asarray(camera_matrix, dtype=np.float64)
    center, size = np.asarray(center, dtype=np.float64), np.asarray(size, dtype=np.float64)
    focal, principal = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    if not (size > 0).all() or not (focal > 0).all():
        raise ValueError(f"virtual_camera: expected sizes and focal lengths above 0, got {size.tolist()} and {focal.tolist()}")
    rotation = _turn_to_axis(np.append((center - principal) / focal, 1))
    corners = center + size / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    seen = np.column_stack(((corners - principal) / focal, np.ones(4))) @ rotation.T
    spread = np.ptp(seen[:, :2] / seen[:, 2:] * focal, axis=0)
    middle = side / 2 if as_released else (side - 1) / 2
    scaled = focal * side / spread.max()
    virtual = np.array([[scaled[0], 0, middle], [0, scaled[1], middle], [0, 0, 1]])
    inverse = np.array([[1 / focal[0], 0, -principal[0] / focal[0]], [0, 1 / focal[1], -principal[1] / focal[1]], [0, 0, 1]])
    cosine, sine = math.cos(angle), math.sin(angle)
    in_plane = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned = in_plane @ rotation
    if as_released:
        transform = virtual @ rotation @ inverse
        shift = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]])
        transform = shift @ in_plane @ np.linalg.inv(shift) @ (transform / transform[2, 2])
    else:
        transform = virtual @ turned @ inverse
        transform = transform / transform[2, 2]
    return VirtualCamera(virtual, transform, turned, side)


def default_camera_matrix(width: int, height: int, field_of_view: float = math.radians(60)) -> np.ndarray:
    """Intrinsics [3, 3] of an image of which nothing is known: the field of view is that of the longer side."""
    focal = max(width, height) / 2 / math.tan(field_of_view / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def _turn_to_axis(ray: np.ndarray) -> np.ndarray:
    """The smallest rotation [3, 3] that takes a ray with z > 0 to the z axis. Its fraction is finite where they agree."""
    x, y, z = ray / np.linalg.norm(ray)
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])  # of the vector (y, -x, 0), the product of the ray and the axis
    return np.eye(3) + cross + cross @ cross / (1 + z)


def _mapped(transform: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    mapped = pixels @ transform[:, :2].T + transform[:, 2]
    return mapped[..., :2] / mapped[..., 2:]
