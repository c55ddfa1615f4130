"""Rotations against SciPy's, at the angles where formulas break, and their gradients against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geo3d.geometry.rotations import (
    axis_angle_to_matrix,
    euler_to_matrix,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    nearest_rotation,
    rotation_6d_to_matrix,
    rotation_mean,
)

ANGLES = [0.0, 1e-30, 1e-9, 1e-5, 9.9e-3, 1.01e-2, 1.0, 3.0, math.pi - 1e-5, math.pi - 1e-9, math.pi, 4.0, 6.28, 20.0]


def random_matrices(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(math.prod(shape), random_state=seed).as_matrix()).reshape(*shape, 3, 3)


def axes(count: int = 20) -> torch.Tensor:
    directions = torch.randn(count, 3, dtype=torch.float64)
    directions = torch.cat([directions, torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    return directions / directions.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_equals_scipy_and_comes_back(angle):
    vectors = angle * axes()
    matrices = axis_angle_to_matrix(vectors)
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(matrices, expected, rtol=0, atol=1e-14)
    again = matrix_to_axis_angle(matrices)
    assert (again.norm(dim=1) <= math.pi + 1e-12).all()
    torch.testing.assert_close(axis_angle_to_matrix(again), matrices, rtol=0, atol=1e-13)
    if angle < 3.1:
        torch.testing.assert_close(again, vectors, rtol=1e-12, atol=1e-15)
    single = axis_angle_to_matrix(vectors.float())
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=2e-7 * max(1.0, angle))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 5e-3, 9.99e-3, 1.01e-2, 0.5, 2.0, 3.0, 3.1])
def test_gradients_of_axis_angle(angle):
    vectors = (angle * axes(3)).requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, vectors)
    back = torch.autograd.functional.jacobian(lambda v: matrix_to_axis_angle(axis_angle_to_matrix(v)).sum(0), vectors)
    # there and back is the identity, and so is its derivative: [3, vectors, 3]
    expected = torch.eye(3, dtype=torch.float64)[:, None].expand_as(back)
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-8)


def test_quaternions_equal_scipy():
    matrices = torch.cat([random_matrices(50), axis_angle_to_matrix(math.pi * axes(3))])
    ours = matrix_to_quaternion(matrices).roll(-1, -1)
    theirs = torch.from_numpy(Rotation.from_matrix(matrices.numpy()).as_quat())
    torch.testing.assert_close((ours * theirs).sum(-1).abs(), torch.ones(len(ours), dtype=torch.float64), rtol=0, atol=1e-14)
    assert (ours[:, 3] >= 0).all()


def test_euler_angles_equal_scipy_and_come_back():
    matrices = random_matrices(50)
    angles = matrix_to_euler(matrices)
    expected = torch.from_numpy(Rotation.from_matrix(matrices.numpy()).as_euler("XYZ"))
    torch.testing.assert_close(angles, expected)
    torch.testing.assert_close(euler_to_matrix(angles), matrices)


def test_leading_dimensions():
    matrices = random_matrices(2, 3, 4)
    for there, back in ((matrix_to_axis_angle, axis_angle_to_matrix), (matrix_to_rotation_6d, rotation_6d_to_matrix)):
        code = there(matrices)
        torch.testing.assert_close(back(code), matrices)
        torch.testing.assert_close(there(matrices[1, 2, 3]), code[1, 2, 3])
        assert back(code[:0]).shape == (0, 3, 4, 3, 3)


def test_rotation_6d_takes_any_code():
    code = torch.randn(50, 6, dtype=torch.float64)
    matrices = rotation_6d_to_matrix(code)
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(matrices[..., 0], code[:, :3] / code[:, :3].norm(dim=1, keepdim=True))
    assert torch.autograd.gradcheck(rotation_6d_to_matrix, code[:4].clone().requires_grad_())


def test_mean_minimises_the_distance():
    rotations, weights = random_matrices(60), torch.randn(5, 60, dtype=torch.float64)
    mean = rotation_mean(weights, rotations)
    cost = _cost(weights, rotations, mean)
    for step in (0.01, 0.5, 2.0):
        for other in axis_angle_to_matrix(step * axes()):
            assert (_cost(weights, rotations, mean @ other) >= cost - 1e-9).all()
    torch.testing.assert_close(rotation_mean(weights, rotations.expand(5, 60, 3, 3)), mean)


def _cost(weights, rotations, candidates):
    return (weights[:, :, None, None] * (rotations - candidates[:, None]).square()).sum((1, 2, 3))


def test_mean_turns_with_the_rotations():
    rotations, weights, turn = random_matrices(60), torch.randn(4, 60, dtype=torch.float64), random_matrices(1, seed=5)[0]
    torch.testing.assert_close(rotation_mean(weights, turn @ rotations), turn @ rotation_mean(weights, rotations))


@pytest.mark.parametrize("kind", ["any", "mirrored", "one rotation", "two equal singular values"])
def test_gradient_of_the_nearest_rotation(kind):
    rotations = random_matrices(6)
    values = {"any": (3, 2, 1), "mirrored": (3, 2, -1), "one rotation": (1, 1, 1), "two equal singular values": (2, 2, 0.5)}
    matrix = rotations[:3] @ torch.diag(torch.tensor(values[kind], dtype=torch.float64)) @ rotations[3:]
    assert torch.autograd.gradcheck(nearest_rotation, matrix.requires_grad_())


def test_gradient_where_the_decomposition_has_none():
    rotations = random_matrices(60)
    weights = torch.eye(60, dtype=torch.float64)[:4].requires_grad_()  # all three singular values are 1
    mean = rotation_mean(weights, rotations)
    torch.testing.assert_close(mean, rotations[:4])
    assert torch.autograd.gradcheck(lambda w: rotation_mean(w, rotations), weights)
    summed = (weights @ rotations.flatten(1)).view(-1, 3, 3)
    u, _, vh = torch.linalg.svd(summed)
    [theirs] = torch.autograd.grad(((u @ vh) * torch.randn(3, 3, dtype=torch.float64)).sum(), weights)
    assert not theirs.isfinite().all()  # what this function is for


def test_no_rotation_is_nearest():
    weights = torch.zeros(2, 4, dtype=torch.float64)
    weights[1] = torch.tensor([1.0, -1, 1, -1])
    rotations = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    weights.requires_grad_()
    mean = rotation_mean(weights, rotations)
    assert torch.equal(mean, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    [grad] = torch.autograd.grad(mean.sum(), weights)
    assert torch.equal(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dtypes_are_kept(dtype):
    matrices = random_matrices(3).to(dtype)
    results = (
        matrix_to_axis_angle(matrices),
        matrix_to_rotation_6d(matrices),
        rotation_mean(torch.rand(2, 3, dtype=dtype), matrices),
        axis_angle_to_matrix(torch.rand(2, 3, dtype=dtype)),
    )
    assert [x.dtype for x in results] == [dtype] * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: axis_angle_to_matrix(torch.rand(2, 4)),
            r"axis_angle must be floating point \[..., 3\], got torch.float32 \[2, 4\]",
        ),
        (lambda: axis_angle_to_matrix(torch.arange(3)), "axis_angle must be floating point .* torch.int64"),
        (lambda: matrix_to_axis_angle(torch.rand(3, 2)), r"matrix must be floating point \[..., 3, 3\]"),
        (lambda: rotation_6d_to_matrix(torch.rand(5)), r"code must be floating point \[..., 6\]"),
        (
            lambda: rotation_mean(torch.rand(4), torch.rand(5, 3, 3)),
            r"weights \[..., A\] and rotations .* got \[4\] and \[5, 3, 3\]",
        ),
        (lambda: nearest_rotation(torch.rand(2, 3, 3), torch.rand(3)), r"scale must be \[2\], got \[3\]"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numbers_of_a_quarter_turn():
    matrix = axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2]))
    np.testing.assert_allclose(matrix.numpy(), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=2e-7)
    assert matrix_to_rotation_6d(matrix).round().tolist() == [0, 1, 0, -1, 0, 0]
