"""Large clouds are thinned before their normals are estimated."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.data.shapes import prepare


@pytest.fixture
def seen(monkeypatch):
    """Numbers of points whose normals were estimated, with clouds beyond 500 points taken for large."""
    counts: list[int] = []
    estimate = prepare.estimate_normals

    def counting(points):
        counts.append(len(points))
        return estimate(points)

    monkeypatch.setattr(prepare, "MAX_POINTS", 500)
    monkeypatch.setattr(prepare, "estimate_normals", counting)
    return counts


def sphere(count: int) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_normals_of_a_large_cloud_are_those_of_the_nearest_estimated(seen):
    points = sphere(20_000)
    cloud, _ = prepare.oriented_cloud(points)
    assert seen == [500] and cloud.shape == (20_000, 6)
    np.testing.assert_array_equal(cloud[:, :3], points)
    assert np.abs((cloud[:, :3] * cloud[:, 3:]).sum(1)).mean() > 0.95  # along the radius


def test_a_cloud_is_thinned_where_its_shape_is_wanted(seen):
    points = sphere(20_000)
    cloud, _ = prepare.oriented_cloud(points, most=300)
    assert seen == [300] and cloud.shape == (300, 6)
    again, _ = prepare.oriented_cloud(points, most=300)
    np.testing.assert_array_equal(cloud, again)
    with_normals, _ = prepare.oriented_cloud(np.concatenate([points, points], 1), most=300)
    np.testing.assert_array_equal(with_normals[:, :3], cloud[:, :3])
    np.testing.assert_allclose(with_normals[:, 3:], cloud[:, :3], atol=1e-6)


def test_repeated_points_of_a_large_cloud_are_told(seen):
    few = np.repeat(sphere(20), 5000, axis=0)
    with pytest.raises(ValueError, match="expected at least 32 distinct points, got 20"):
        prepare.oriented_cloud(few, most=300)
