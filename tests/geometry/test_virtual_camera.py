"""Crops by a virtual camera: image and points stay together."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.geometry.virtual_camera import default_camera_matrix, virtual_camera

MATRIX = np.array([[400.0, 0, 110], [0, 520, 130], [0, 0, 1]])


def projected(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    seen = points @ matrix.T
    return seen[:, :2] / seen[:, 2:]


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).normal([0.1, -0.05, 0.6], 0.05, (50, 3))


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_turned_points_are_seen_where_the_image_is_moved_to(points, angle):
    camera = virtual_camera(MATRIX, (170, 60), (80, 50), 224, angle)
    pixels = projected(points, MATRIX)
    np.testing.assert_allclose(projected(camera.turn(points), camera.camera_matrix), camera.to_crop(pixels), atol=1e-9)
    np.testing.assert_allclose(camera.to_image(camera.to_crop(pixels)), pixels, atol=1e-9)
    np.testing.assert_allclose(camera.turn_back(camera.turn(points)), points, atol=1e-12)


def test_released_crops_part_from_the_points_where_focal_lengths_differ(points):
    camera = virtual_camera(MATRIX, (170, 60), (80, 50), 224, 0.7, as_released=True)
    apart = projected(camera.turn(points), camera.camera_matrix) - camera.to_crop(projected(points, MATRIX))
    assert np.abs(apart).max() > 5


def test_the_box_fills_the_crop_and_its_middle_is_in_the_middle():
    camera = virtual_camera(MATRIX, (170, 60), (80, 50), 224)
    np.testing.assert_allclose(camera.to_crop(np.array([170.0, 60.0])), [111.5, 111.5], atol=1e-9)
    corners = camera.to_crop(np.array([[130, 35], [210, 35], [210, 85], [130, 85.0]]))
    assert np.ptp(corners[:, 0]) == pytest.approx(224)


def test_a_box_on_the_principal_point_is_not_turned():
    camera = virtual_camera(MATRIX, (110, 130), (50, 50), 64)
    np.testing.assert_allclose(camera.rotation, np.eye(3), atol=1e-12)


def test_the_image_is_warped_as_the_pixels_are():
    image = np.zeros((200, 240, 3), np.uint8)
    image[60:63, 170:173] = 255
    camera = virtual_camera(MATRIX, (150, 80), (90, 90), 128, 0.4)
    rows, columns = np.nonzero(camera.warp(image)[..., 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], camera.to_crop(np.array([171.0, 61.0])), atol=0.3)


def test_a_box_without_extent_is_told():
    with pytest.raises(ValueError, match="expected sizes and focal lengths above 0"):
        virtual_camera(MATRIX, (10, 10), (0, 5), 64)


def test_default_intrinsics_see_sixty_degrees():
    matrix = default_camera_matrix(640, 480)
    assert 2 * np.degrees(np.arctan(320 / matrix[0, 0])) == pytest.approx(60)
    np.testing.assert_allclose(matrix[:2, 2], [319.5, 239.5])
