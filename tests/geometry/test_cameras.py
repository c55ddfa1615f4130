"""Cameras: projection, view, KITTI's matrices, poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.geometry.cameras import Camera, invert_rigid, kitti_camera, pinhole, rigid_matrix

FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)  # looks along +x of the LiDAR
INTRINSICS = np.array([[100, 0, 100], [0, 100, 50], [0, 0, 1]], dtype=float)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_projection_and_view(kind):
    camera = pinhole(INTRINSICS, FORWARD, (200, 100))
    points = np.array([[10.0, 0, 0, 7], [10, 1, 2, 7], [-10, 0, 0, 7], [10, 20, 0, 7], [0, 0, 0, 7]])
    pixels, depth = camera.project(kind(points))
    np.testing.assert_allclose(depth, [10, 10, -10, 10, 0])
    np.testing.assert_allclose(pixels[:2], [[100, 50], [90, 30]])
    assert np.isfinite(np.asarray(pixels)).all()
    assert np.asarray(camera.in_view(kind(points))).tolist() == [True, True, False, False, False]


def test_poses_are_inverse_to_each_other():
    pose = rigid_matrix([0.9, 0.1, -0.3, 0.2], [1.0, 2, 3])
    camera = pinhole(INTRINSICS, pose)
    np.testing.assert_allclose(camera.lidar_from_camera @ camera.camera_from_lidar, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(invert_rigid(pose), np.linalg.inv(pose))


def test_rigid_matrix():
    quarter = rigid_matrix([1, 0, 0, 1], [5.0, 0, 0])  # a quarter turn about z, of a quaternion that is not of length 1
    np.testing.assert_allclose(quarter @ [1, 0, 0, 1], [5, 1, 0, 1], atol=1e-12)
    assert rigid_matrix(np.tile([1, 0, 0, 0], (2, 3, 1)), np.zeros((2, 3, 3))).shape == (2, 3, 4, 4)
    assert rigid_matrix(np.zeros((0, 4)), np.zeros((0, 3))).shape == (0, 4, 4)


def test_kitti_camera_chains_its_matrices():
    rectify = rigid_matrix([1, 0.01, 0, 0], np.zeros(3))[:3, :3]
    projection = np.concatenate((INTRINSICS, [[4.5], [0.2], [0.003]]), 1)
    camera = kitti_camera(projection, rectify, FORWARD[:3], (200, 100))
    point = np.array([10.0, 1, 2])
    expected = projection @ [*(rectify @ FORWARD[:3, :3] @ point), 1]
    pixels, depth = camera.project(point[None])
    np.testing.assert_allclose(pixels[0], expected[:2] / expected[2])
    np.testing.assert_allclose(depth[0], expected[2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Camera(np.eye(3), np.eye(4)), r"image_from_camera must be \[3, 4\], got \[3, 3\]"),
        (lambda: pinhole(np.eye(4), np.eye(4)), r"intrinsics must be \[3, 3\], got \[4, 4\]"),
        (lambda: pinhole(INTRINSICS, 3 * np.eye(4)), "camera_from_lidar must be a rotation and a translation"),
        (lambda: pinhole(INTRINSICS, FORWARD).in_view(np.zeros((1, 3))), "image_size is unknown"),
    ],
    ids=["projection", "intrinsics", "pose", "size"],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
