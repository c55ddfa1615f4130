"""Normals of clouds without: the reference's axes, analytic surfaces, equivariance and errors."""

from __future__ import annotations

import numpy as np
import pytest
from shared_folders import PARITY

from geo3d.data.shapes.normals import estimate_normals
from geo3d.data.shapes.transforms import random_rotation


@pytest.fixture
def cloud():
    """An ellipsoid with a bump: every neighbourhood is curved, so every sign is defined."""
    directions = np.random.default_rng(0).standard_normal((400, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * [1.0, 0.8, 0.6]


def test_equals_reference_up_to_sign():
    path = PARITY / "risurconv" / "features_small" / "arrays.npz"
    if not path.is_file():
        pytest.skip(f"no {path}; set GEO3D_PARITY")
    with np.load(path) as case:
        points, expected = case["in.points"][0, :, :3], case["out.lra_normals"][0]
    normals = estimate_normals(points, 32)
    signs = np.sign((normals * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(normals * signs, expected, rtol=0, atol=1e-4)  # float32 eigenvectors in the reference


def test_normals_of_a_sphere_are_radial():
    directions = np.random.default_rng(0).standard_normal((2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normals = estimate_normals(directions)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    cosines = (normals * directions).sum(1)
    assert np.abs(cosines).min() > 0.98
    # Seen from a point of a sphere all others lie inwards, so the sign rule points there.
    assert (cosines < 0).all()


def test_normals_of_a_plane_with_repeated_points():
    grid = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0), [0.0]), -1).reshape(-1, 3).astype(np.float32)
    normals = estimate_normals(np.concatenate([grid, grid]), 12)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(np.abs(normals), np.tile([0, 0, 1], (72, 1)), atol=1e-6)


def test_turns_and_moves_with_the_cloud(cloud):
    rotation = random_rotation(np.random.default_rng(1))
    expected = estimate_normals(cloud) @ rotation.T
    np.testing.assert_allclose(estimate_normals(cloud @ rotation.T + [1, 2, 3]), expected, rtol=0, atol=1e-9)


def test_scale_does_not_matter(cloud):
    np.testing.assert_allclose(estimate_normals(1e-3 * cloud), estimate_normals(cloud), rtol=0, atol=1e-9)


def test_few_and_equal_points():
    assert np.isfinite(estimate_normals(np.zeros((5, 3)))).all()
    square = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    np.testing.assert_allclose(np.abs(estimate_normals(square)), np.tile([0, 0, 1], (4, 1)), atol=1e-12)


@pytest.mark.parametrize(
    ("points", "num_neighbors", "message"),
    [
        (np.zeros((5, 6)), 32, r"must be \[N, 3\] floating point, got \[5, 6\] float64"),
        (np.zeros((5, 3), int), 32, "got .* int64"),
        (np.zeros((2, 3)), 32, "got 2 points and 32 neighbours"),
        (np.zeros((5, 3)), 2, "got 5 points and 2 neighbours"),
        (np.array([[0.0, 0, 0], [0, 0, np.nan], [1, 1, 1]]), 3, r"must be finite, got \[0.0, 0.0, nan\]"),
    ],
)
def test_errors(points, num_neighbors, message):
    with pytest.raises(ValueError, match=f"estimate_normals: .*{message}"):
        estimate_normals(points, num_neighbors)
