"""Cameras that fit what they see, and rays cast at triangles."""

from __future__ import annotations

import numpy as np
import pytest
from small_scenes import ball, draws

from geo3d.viz import VIEWS
from geo3d.viz.camera import AXES, fit_camera
from geo3d.viz.raycast import Triangles, cast


@pytest.mark.parametrize("up", AXES)
@pytest.mark.parametrize("view", VIEWS)
def test_camera_sees_everything_and_comes_close(up, view):
    points = ball() * (3, 1, 0.5) + (50, -20, 7)
    camera = fit_camera(points, VIEWS[view], up, (400, 300), margin=20)
    pixels = camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert (low >= 20 - 1e-6).all() and (high <= np.array([380, 280]) + 1e-6).all()
    touches = np.isclose([*low, *high], [20, 20, 380, 280])
    assert touches[[0, 2]].all() or touches[[1, 3]].all()
    assert (camera.to_camera(points)[:, 2] > 0).all()
    np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.axes) > 0.999  # no mirror image


def test_up_axis_points_up_in_the_picture():
    for name, axis in AXES.items():
        camera = fit_camera(ball(), VIEWS["corner"], name, (400, 300), margin=20)
        right, down, _ = camera.axes
        assert abs(right @ axis) < 1e-12 and down @ axis < -0.5
        middle, above = camera.project(np.stack([np.zeros(3), 0.5 * axis]))
        assert above[1] < middle[1] - 10


@draws
def test_cast_hits_the_nearest_triangle_and_mixes_its_corners():
    vertices = np.array([[-1, -1, -2], [1, -1, -2], [0, 1, -2], [-9, -9, -5], [9, -9, -5], [0, 9, -5]], dtype=np.float32)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9], [9, 9, 9], [9, 9, 9]], dtype=np.uint8)
    picture, depth = cast(Triangles(vertices, colors, np.array([[0, 1, 2], [3, 4, 5]])), focal=50.0, width=101, height=101)
    np.testing.assert_allclose(depth[50, 50], 2, rtol=1e-5)  # along the axis, not along the ray
    np.testing.assert_allclose(depth[62, 45], 2, rtol=1e-5)
    np.testing.assert_allclose(depth[10, 50], 5, rtol=1e-5)
    assert np.isinf(depth[0, 0]) and (picture[0, 0] == 0).all()
    np.testing.assert_allclose(picture[50, 50], [63.75, 63.75, 127.5], atol=1)  # the centre: half way up to the blue corner
    np.testing.assert_allclose(picture[10, 50], 9, atol=1e-3)


@draws
@pytest.mark.parametrize("center", [None, (10.0, 70.0)], ids=["middle", "aside"])
def test_cast_is_the_same_where_nothing_lies_behind_the_camera(center):
    generator = np.random.default_rng(0)
    vertices = (generator.uniform(-0.4, 0.4, (12, 3)) + (0.2, -0.3, -2)).astype(np.float32)  # a part of the picture
    colors, faces = generator.integers(0, 256, (15, 3)).astype(np.uint8), np.arange(15).reshape(-1, 3)
    looks = {"focal": 60.0, "width": 90, "height": 80, "center": center}
    picture, depth = cast(Triangles(vertices, colors[:12], faces[:4]), **looks)
    unseen = np.array([[0, 0, 2], [1, 0, 2], [0, 1, 2]], dtype=np.float32)
    expected, expected_depth = cast(Triangles(np.concatenate([vertices, unseen]), colors, faces), **looks)
    assert 100 < np.isfinite(depth).sum() < depth.size / 2
    np.testing.assert_array_equal(depth, expected_depth)
    np.testing.assert_array_equal(picture, expected)
    aside = vertices + np.float32((50, 0, 0))
    assert np.isinf(cast(Triangles(aside, colors[:12], faces[:4]), **looks)[1]).all()
