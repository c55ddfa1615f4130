"""Boxes: corners, angles, rigid motion, KITTI's camera boxes and rectangles in the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.geometry.boxes import (
    CORNER_SIGNS,
    EDGES,
    FRONT_FACE,
    box_corners,
    boxes_from_kitti,
    boxes_to_kitti,
    project_boxes,
    transform_boxes,
    wrap_angle,
)
from geo3d.geometry.cameras import invert_rigid, rigid_matrix
from geo3d.ops import points_in_boxes

# A camera that looks along +x of the LiDAR frame: x right = -y, y down = -z, z forward = x; 100 px focal length, 200 x 100 px.
CAMERA_FROM_LIDAR = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
IMAGE_FROM_LIDAR = np.array([[100, 0, 100, 0], [0, 100, 50, 0], [0, 0, 1, 0]], dtype=float) @ CAMERA_FROM_LIDAR


def random_boxes(count: int, columns: int = 7) -> np.ndarray:
    generator = np.random.default_rng(0)
    boxes = generator.uniform(-20, 20, (count, columns))
    boxes[:, 3:6] = generator.uniform(0.2, 8, (count, 3))
    boxes[:, 6] = generator.uniform(-np.pi, np.pi, count)
    return boxes


@pytest.fixture(params=["numpy", "torch"])
def kind(request):
    return np.asarray if request.param == "numpy" else torch.from_numpy


def test_corners_of_one_box(kind):
    corners = box_corners(kind(np.array([[10.0, 0, 1, 4, 2, 1, np.pi / 2]])))
    assert type(corners) is type(kind(np.zeros(1)))
    expected = [[9, 2], [9, -2], [11, -2], [11, 2]]  # heading +y: front left is at -x, +y
    np.testing.assert_allclose(corners[0, :4], [[*xy, 0.5] for xy in expected], atol=1e-12)
    np.testing.assert_allclose(corners[0, 4:], [[*xy, 1.5] for xy in expected], atol=1e-12)
    np.testing.assert_allclose(np.asarray(corners[0])[list(FRONT_FACE), 1], 2)


def test_edges_are_the_sides_of_the_box():
    boxes = random_boxes(5)
    corners = box_corners(boxes)
    lengths = np.linalg.norm(corners[:, [a for a, _ in EDGES]] - corners[:, [b for _, b in EDGES]], axis=2)
    np.testing.assert_allclose(np.sort(lengths, 1), np.sort(np.repeat(boxes[:, 3:6], 4, axis=1), 1))
    assert len(set(EDGES)) == 12 and len(CORNER_SIGNS) == 8


def test_corners_lie_where_points_in_boxes_says():
    boxes = torch.from_numpy(random_boxes(20))
    corners = box_corners(boxes)
    for factor, inside in ((0.999, True), (1.001, False)):
        points = boxes[:, None, :3] + factor * (corners - boxes[:, None, :3])
        found = torch.stack([points_in_boxes(cloud, box[None]) == 0 for cloud, box in zip(points, boxes, strict=True)])
        assert bool((found == inside).all())


def test_no_boxes(kind):
    boxes = kind(np.zeros((0, 9)))
    assert box_corners(boxes).shape == (0, 8, 3)
    assert transform_boxes(boxes, np.eye(4)).shape == (0, 9)
    assert boxes_from_kitti(boxes[:, :7], CAMERA_FROM_LIDAR).shape == (0, 7)
    rectangles, visible = project_boxes(boxes, IMAGE_FROM_LIDAR, (200, 100))
    assert rectangles.shape == (0, 4) and visible.shape == (0,)


def test_wrap_angle(kind):
    angles = np.array([0, np.pi, -np.pi, 3 * np.pi, 7.0, -7.0, -1e-20, -np.pi - 1e-9])
    wrapped = np.asarray(wrap_angle(kind(angles)))
    assert (wrapped >= -np.pi).all() and (wrapped < np.pi).all()
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angles), atol=1e-9)
    np.testing.assert_allclose(wrapped[:6], [0, -np.pi, -np.pi, -np.pi, 7 - 2 * np.pi, 2 * np.pi - 7])


def test_transform_moves_corners_and_velocities(kind):
    boxes = random_boxes(10, 9)
    matrix = rigid_matrix([np.cos(0.4), 0, 0, np.sin(0.4)], [3.0, -2, 1])  # 0.8 rad about z
    moved = np.asarray(transform_boxes(kind(boxes), matrix))
    np.testing.assert_allclose(box_corners(moved), box_corners(boxes) @ matrix[:3, :3].T + matrix[:3, 3])
    np.testing.assert_allclose(moved[:, 7] + 1j * moved[:, 8], (boxes[:, 7] + 1j * boxes[:, 8]) * np.exp(0.8j))
    back = transform_boxes(moved, invert_rigid(matrix))
    np.testing.assert_allclose(wrap_angle(back[:, 6] - boxes[:, 6]), 0, atol=1e-12)
    np.testing.assert_allclose(np.delete(back, 6, 1), np.delete(boxes, 6, 1), atol=1e-12)


def test_transform_between_tilted_frames_keeps_the_heading_seen_from_above():
    tilt = rigid_matrix([np.cos(0.1), np.sin(0.1), 0, 0], np.zeros(3))  # 0.2 rad about x
    moved = transform_boxes(np.array([[0, 0, 0, 1, 1, 1, 0.5]]), tilt)
    assert moved[0, 6] == pytest.approx(np.arctan2(np.sin(0.5) * np.cos(0.2), np.cos(0.5)))


def test_kitti_boxes_of_an_upright_camera(kind):
    """At 10 m, heading away from the camera, 1.5 m high and standing 1.6 m below it."""
    away = np.array([[2.0, 1.6, 10, 4, 1.5, 1.8, -np.pi / 2]])
    boxes = boxes_from_kitti(kind(away), invert_rigid(CAMERA_FROM_LIDAR))
    np.testing.assert_allclose(boxes, [[10, -2, 1.5 / 2 - 1.6, 4, 1.8, 1.5, 0]], atol=1e-12)


def test_kitti_boxes_round_trip_in_a_tilted_frame(kind):
    tilted = rigid_matrix([1, 0.01, -0.02, 0.015], [0.3, 0.1, -0.2]) @ CAMERA_FROM_LIDAR
    camera_boxes = random_boxes(30)
    boxes = boxes_from_kitti(kind(camera_boxes), invert_rigid(tilted))
    back = np.asarray(boxes_to_kitti(boxes, tilted))
    np.testing.assert_allclose(back[:, :6], camera_boxes[:, :6], atol=1e-9)
    np.testing.assert_allclose(wrap_angle(back[:, 6] - camera_boxes[:, 6]), 0, atol=1e-9)


def test_project_boxes(kind):
    boxes = np.array(
        [
            [10.0, 0, 0, 2, 2, 2, 0],  # in front: near face at 9 m
            [10.0, 9, 0, 2, 2, 2, 0],  # cut by the left border
            [-10.0, 0, 0, 2, 2, 2, 0],  # behind
            [0.0, 0.5, 0, 20, 0.5, 0.2, 0],  # reaches from behind the camera to 10 m in front
            [10.0, 40, 0, 2, 2, 2, 0],  # outside the image
        ]
    )
    rectangles, visible = project_boxes(kind(boxes), IMAGE_FROM_LIDAR, (200, 100))
    assert np.asarray(visible).tolist() == [True, True, False, True, False]
    rectangles = np.asarray(rectangles)
    np.testing.assert_allclose(rectangles[0], [100 - 100 / 9, 50 - 100 / 9, 100 + 100 / 9, 50 + 100 / 9])
    np.testing.assert_allclose(rectangles[1], [0, 50 - 100 / 9, 100 - 100 * 8 / 11, 50 + 100 / 9])
    np.testing.assert_allclose(rectangles[3], [0, 0, 100 - 100 * 0.25 / 10, 99])
    assert not rectangles[[2, 4]].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_corners(np.zeros((3, 6))), r"box_corners: boxes must be \[B, 7\] or \[B, 9\], got \[3, 6\]"),
        (lambda: box_corners([1.0]), "box_corners: boxes must be .* got list"),
        (lambda: transform_boxes(np.zeros((1, 7)), np.eye(3)), r"target_from_source must be \[4, 4\], got \[3, 3\]"),
        (lambda: transform_boxes(np.zeros((1, 7)), 2 * np.eye(4)), "target_from_source must be a rotation and a translation"),
        (lambda: boxes_from_kitti(np.zeros((1, 7)), np.diag([1.0, 1, -1, 1])), "lidar_from_camera must be a rotation"),
        (lambda: project_boxes(np.zeros((1, 7)), np.eye(4), (9, 9)), r"image_from_lidar must be \[3, 4\], got \[4, 4\]"),
    ],
    ids=["columns", "type", "shape", "scale", "mirror", "projection"],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
