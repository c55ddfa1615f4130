"""Normalisation, augmentations and rotations: what they keep, their ranges, and that arrays and tensors give the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.data.shapes import transforms
from geo3d.data.shapes.transforms import AUGMENTATIONS


@pytest.fixture
def points():
    generator = np.random.default_rng(0)
    normals = generator.standard_normal((200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return np.concatenate([generator.uniform(-1, 3, (200, 3)), normals], 1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


FUNCTIONS = {
    "unit_sphere": transforms.unit_sphere,
    "orient_normals": transforms.orient_normals,
    "rotate": lambda points: transforms.rotate(points, transforms.random_rotation(rng())),
    "z": lambda points: transforms.randomly_rotated(points, "z", rng()),
} | {name: lambda points, each=each: each(points, rng()) for name, each in AUGMENTATIONS.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_equal_arrays_and_the_input_stays(points, name):
    before = points.copy()
    array, tensor = FUNCTIONS[name](points), FUNCTIONS[name](torch.from_numpy(points))
    assert isinstance(array, np.ndarray) and array.dtype == np.float64
    torch.testing.assert_close(tensor, torch.from_numpy(array))
    single = FUNCTIONS[name](points.astype(np.float32))
    assert single.dtype == np.float32 and not np.allclose(array, before)
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize("name", ["drop", "scale", "shift", "shuffle", "jitter"])
def test_a_label_column_stays_with_its_point(points, name):
    labeled = np.concatenate([points, np.arange(200.0)[:, None]], 1)
    result = AUGMENTATIONS[name](labeled, rng())
    rows = result[:, 6].astype(int)
    np.testing.assert_array_equal(result[:, 3:6], points[rows, 3:6])
    if name in ("drop", "shuffle"):
        np.testing.assert_array_equal(result[:, :3], points[rows, :3])


def test_unit_sphere(points):
    result = transforms.unit_sphere(points)
    np.testing.assert_allclose(result[:, :3].mean(0), 0, atol=1e-12)
    assert np.linalg.norm(result[:, :3], axis=1).max() == pytest.approx(1)
    np.testing.assert_array_equal(result[:, 3:], points[:, 3:])
    np.testing.assert_array_equal(transforms.unit_sphere(np.ones((4, 3))), np.zeros((4, 3)))


def test_orient_normals(points):
    result = transforms.orient_normals(points)
    assert ((result[:, :3] - result[:, :3].mean(0)) * result[:, 3:]).sum(1).min() >= 0
    np.testing.assert_array_equal(np.abs(result), np.abs(points))
    np.testing.assert_array_equal(transforms.orient_normals(points * [1, 1, 1, -1, -1, -1]), result)
    rotation = transforms.random_rotation(rng(1))
    moved = transforms.rotate(points, rotation) + [5, 6, 7, 0, 0, 0]
    np.testing.assert_allclose(
        transforms.orient_normals(moved), transforms.rotate(result, rotation) + [5, 6, 7, 0, 0, 0], atol=1e-12
    )


def test_drop_replaces_by_the_first_point(points):
    ratios = []
    for seed in range(300):
        result = transforms.drop(points, rng(seed))
        dropped = (result != points).any(1)
        np.testing.assert_array_equal(result[dropped], np.tile(points[0], (dropped.sum(), 1)))
        ratios.append(dropped.mean())
    # Uniform in [0, 0.875]; the spread of a mean of 300 is 0.015, and a ratio itself scatters by at most 0.04.
    assert np.mean(ratios) == pytest.approx(0.4375, abs=0.06) and min(ratios) < 0.06 and 0.8 < max(ratios) < 0.98


def test_scale_and_shift_ranges(points):
    scales = [(transforms.scale(points, rng(seed))[:, :3] / points[:, :3]) for seed in range(200)]
    assert all(np.ptp(each) < 1e-9 for each in scales)
    factors = np.array([each[0, 0] for each in scales])
    assert 0.8 <= factors.min() < 0.82 and 1.23 < factors.max() <= 1.25
    shifts = np.array([transforms.shift(points, rng(seed)) - points for seed in range(200)])
    assert np.ptp(shifts, axis=1).max() < 1e-9 and (shifts[..., 3:] == 0).all()
    assert -0.1 <= shifts.min() < -0.095 and 0.095 < shifts.max() <= 0.1


def test_jitter_is_clipped(points):
    noise = (transforms.jitter(points, rng(), sigma=0.04, largest=0.05) - points)[:, :3]
    assert np.abs(noise).max() == pytest.approx(0.05) and 0.02 < noise.std() < 0.04


def test_shuffle_is_a_permutation(points):
    result = transforms.shuffle(points, rng())
    np.testing.assert_array_equal(np.sort(result[:, 0]), np.sort(points[:, 0]))


def test_augmented_applies_in_the_given_order(points):
    generator = rng(5)
    expected = transforms.shift(transforms.scale(points, generator), generator)
    np.testing.assert_array_equal(transforms.augmented(points, ["scale", "shift"], rng(5)), expected)
    np.testing.assert_array_equal(transforms.augmented(points, [], rng(5)), points)


def test_rotate_turns_column_vectors(points):
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y
    np.testing.assert_allclose(transforms.rotate(np.eye(3)[:1], quarter), [[0, 1, 0]])
    result = transforms.rotate(points, quarter)
    np.testing.assert_allclose(result[:, 3:], points[:, 3:] @ quarter.T)
    assert transforms.rotate(points[:, :3], quarter).shape == (200, 3)


def test_random_rotations_are_uniform():
    rotations = np.stack([transforms.random_rotation(rng(seed)) for seed in range(2000)])
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (2000, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    # Haar measure: entries have mean 0 and mean square 1/3, the trace mean 0 and mean square 1.
    assert np.abs(rotations.mean(0)).max() < 0.06 and np.abs((rotations**2).mean(0) - 1 / 3).max() < 0.03
    assert (np.trace(rotations, axis1=1, axis2=2) ** 2).mean() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_gravity_rotation_keeps_its_axis(points, axis):
    column = "xyz".index(axis)
    result = transforms.randomly_rotated(points, "z", rng(), axis)
    np.testing.assert_allclose(result[:, [column, column + 3]], points[:, [column, column + 3]])
    np.testing.assert_allclose(np.linalg.norm(result[:, :3], axis=1), np.linalg.norm(points[:, :3], axis=1))
    angles = [np.arctan2(*transforms.random_axis_rotation(rng(seed), "z")[1::-1, 0]) for seed in range(400)]
    assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() > 70


def test_protocols(points):
    np.testing.assert_array_equal(transforms.randomly_rotated(points, "none", rng()), points)
    expected = transforms.rotate(points, transforms.random_rotation(rng(3)))
    np.testing.assert_array_equal(transforms.randomly_rotated(points, "so3", rng(3)), expected)
    with pytest.raises(ValueError, match="rotation must be one of .*'so3'.*, got 'SO3'"):
        transforms.randomly_rotated(points, "SO3", rng())
