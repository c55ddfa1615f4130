"""Pinhole cameras beside a LiDAR: poses, projection, and which points an image shows.

Camera frames are x right, y down, z forward; pixels are x right, y down. A matrix named `camera_from_lidar` takes LiDAR
coordinates to camera coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from geo3d.geometry.boxes import Array, check_rigid


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera and its place relative to a LiDAR.

    Attributes:
        image_from_camera: [3, 4] float64; the last column is zero but for KITTI, whose cameras share one frame.
        camera_from_lidar: [4, 4] float64, rigid.
        image_size: width and height in pixels, or None where unknown.
    """

    image_from_camera: np.ndarray
    camera_from_lidar: np.ndarray
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if np.shape(self.image_from_camera) != (3, 4):
            raise ValueError(f"Camera: image_from_camera must be [3, 4], got {list(np.shape(self.image_from_camera))}")
        check_rigid("Camera: camera_from_lidar", self.camera_from_lidar)

    @property
    def image_from_lidar(self) -> np.ndarray:
        """[3, 4] float64 projection of LiDAR coordinates to homogeneous pixels."""
        return self.image_from_camera @ self.camera_from_lidar

    @property
    def lidar_from_camera(self) -> np.ndarray:
        """[4, 4] float64."""
        return invert_rigid(self.camera_from_lidar)

    def project(self, points_lidar: Array) -> tuple[Array, Array]:
        """Pixels [N, 2] and depths [N] in metres of points [N, 3 or more]; pixels mean nothing where the depth is not positive."""
        matrix: Any = self.image_from_lidar
        if isinstance(points_lidar, Tensor):
            matrix = torch.as_tensor(matrix, dtype=points_lidar.dtype, device=points_lidar.device)
        else:
            matrix = matrix.astype(points_lidar.dtype)
        pixels = points_lidar[:, :3] @ matrix[:, :3].T + matrix[:, 3]
        depth = pixels[:, 2]
        library: Any = torch if isinstance(points_lidar, Tensor) else np
        return pixels[:, :2] / library.where(depth > 0, depth, 1)[:, None], depth

    def in_view(self, points_lidar: Array) -> Array:
        """[N] bool, True for points [N, 3 or more] in front of the camera and within its image.

        Raises:
            ValueError: the image size is unknown.
        """
        if self.image_size is None:
            raise ValueError("Camera.in_view: image_size is unknown")
        pixels, depth = self.project(points_lidar)
        width, height = self.image_size
        inside = (pixels[:, 0] >= 0) & (pixels[:, 0] < width) & (pixels[:, 1] >= 0) & (pixels[:, 1] < height)
        return inside & (depth > 0)


def pinhole(intrinsics: Any, camera_from_lidar: Any, image_size: tuple[int, int] | None = None) -> Camera:
    """Camera of a matrix of intrinsics [3, 3] (focal lengths and principal point in pixels) and a pose [4, 4]."""
    intrinsics = np.asarray(intrinsics, dtype=np.float64)
    if intrinsics.shape != (3, 3):
        raise ValueError(f"pinhole: intrinsics must be [3, 3], got {list(intrinsics.shape)}")
    pose = check_rigid("camera_from_lidar", camera_from_lidar)
    return Camera(np.concatenate((intrinsics, np.zeros((3, 1))), 1), pose, image_size)


def kitti_camera(p2: Any, r0_rect: Any, tr_velo_to_cam: Any, image_size: tuple[int, int] | None = None) -> Camera:
    """KITTI's left colour camera from the matrices of a calibration file.

    Args:
        p2: [3, 4] projection of the rectified frame of camera 0 to the image of camera 2.
        r0_rect: [3, 3] rectifying rotation.
        tr_velo_to_cam: [3, 4] LiDAR frame to the frame of camera 0.
        image_size: width and height in pixels.

    Returns:
        Camera, its `camera_from_lidar` ending in the rectified frame, in which the labels are.
    """
    rectify, pose = np.eye(4), np.eye(4)
    rectify[:3, :3] = r0_rect
    pose[:3] = tr_velo_to_cam
    return Camera(np.asarray(p2, dtype=np.float64), rectify @ pose, image_size)


def rigid_matrix(quaternion_wxyz: Any, translation: Any) -> np.ndarray:
    """[..., 4, 4] float64 from quaternions [..., 4], real part first (they need not have length 1), and translations [..., 3]."""
    quaternion = np.asarray(quaternion_wxyz, dtype=np.float64)
    translation = np.asarray(translation, dtype=np.float64)
    matrix = np.zeros((*quaternion.shape[:-1], 4, 4))
    flat = np.roll(quaternion.reshape(-1, 4), -1, axis=1)  # scipy puts the real part last
    if len(flat):
        matrix[..., :3, :3] = Rotation.from_quat(flat).as_matrix().reshape(*quaternion.shape[:-1], 3, 3)
    matrix[..., :3, 3] = translation
    matrix[..., 3, 3] = 1
    return matrix


def invert_rigid(matrix: Any) -> np.ndarray:
    """Inverse [4, 4] float64 of a rotation and a translation."""
    matrix = check_rigid("invert_rigid", matrix)
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse
