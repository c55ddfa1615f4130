"""Rotations: axis-angle, quaternions, 6D codes and matrices, and the mean of weighted rotations.

Matrices [..., 3, 3] act on column vectors. Axis-angle vectors [..., 3] point along the axis and are as long as the angle in radians.
Every function takes any leading dimensions in float32 or float64 and is differentiable, at the identity too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SMALL = 1e-4  # squared angle below which the series are exact to float64's rounding at the order used


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] (Rodrigues' formula)."""
    _check("axis_angle_to_matrix", "axis_angle", axis_angle, (3,))
    squared = axis_angle.square().sum(-1)
    is_small = squared < SMALL
    angle = torch.where(is_small, 1, squared).sqrt()  # no gradient through the root at zero
    sine = torch.where(is_small, 1 - squared / 6 + squared.square() / 120 - squared**3 / 5040, angle.sin() / angle)
    half = angle / 2  # 1 - cos(angle) = 2 sin(angle / 2)^2 keeps its digits for small angles
    versine = torch.where(
        is_small, 0.5 - squared / 24 + squared.square() / 720 - squared**3 / 40320, (half.sin() / angle).square() * 2
    )
    cross = cross_matrix(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + sine[..., None, None] * cross + versine[..., None, None] * (cross @ cross)


def cross_matrix(vectors: Tensor) -> Tensor:
    """The matrices [..., 3, 3] whose product with x is the cross product of `vectors` [..., 3] and x."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions [..., 4] as (w, x, y, z) with w >= 0 of rotation matrices [..., 3, 3].

    Of the four ways to read a quaternion off a matrix each takes the one whose divisor is largest (Shepperd, 1978), so that no digits
    are lost at any angle.
    """
    _check("matrix_to_quaternion", "matrix", matrix, (3, 3))
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
    products = torch.stack(  # 4 q q^T, row by row
        (
            torch.stack((1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01), -1),
            torch.stack((m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20), -1),
            torch.stack((m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m12 + m21), -1),
            torch.stack((m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22), -1),
        ),
        -2,
    )
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = products.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis-angle vectors [..., 3], angles in [0, pi], of rotation matrices [..., 3, 3]; at pi the axis may have either sign."""
    quaternion = matrix_to_quaternion(matrix)
    real, imaginary = quaternion[..., 0], quaternion[..., 1:]
    squared = imaginary.square().sum(-1)  # sin(angle / 2)^2
    is_small = squared < SMALL
    sine = torch.where(is_small, 1, squared).sqrt()
    cosine = torch.where(is_small, real, 1)
    ratio = squared / cosine.square()
    series = 2 * (1 - ratio / 3 + ratio.square() / 5 - ratio**3 / 7) / cosine  # 2 atan(s / c) / s
    scale = torch.where(is_small, series, 2 * torch.atan2(sine, torch.where(is_small, 1, real)) / sine)
    return scale[..., None] * imaginary


def matrix_to_rotation_6d(matrix: Tensor) -> Tensor:
    """The first two columns of rotation matrices [..., 3, 3], one after the other: [..., 6].

    Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019, sec. 4.2.
    """
    _check("matrix_to_rotation_6d", "matrix", matrix, (3, 3))
    return matrix[..., :2].mT.flatten(-2)


def rotation_6d_to_matrix(code: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] whose first two columns are those of `code` [..., 6], made orthonormal (Gram-Schmidt)."""
    _check("rotation_6d_to_matrix", "code", code, (6,))
    first = torch.nn.functional.normalize(code[..., :3], dim=-1)
    along = (first * code[..., 3:]).sum(-1, keepdim=True)
    second = torch.nn.functional.normalize(code[..., 3:] - along * first, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -1)


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of angles [..., 3] in radians about x, y and z, each axis turned by those before: R = X Y Z."""
    _check("euler_to_matrix", "angles", angles, (3,))
    axes = torch.eye(3, dtype=angles.dtype, device=angles.device)
    about_x, about_y, about_z = axis_angle_to_matrix(angles[..., None] * axes).unbind(-3)
    return about_x @ about_y @ about_z


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Angles [..., 3] of which `euler_to_matrix` makes `matrix` [..., 3, 3]; that about y in [-pi / 2, pi / 2]."""
    _check("matrix_to_euler", "matrix", matrix, (3, 3))
    x = torch.atan2(-matrix[..., 1, 2], matrix[..., 2, 2])
    y = torch.asin(matrix[..., 0, 2].clamp(-1, 1))
    z = torch.atan2(-matrix[..., 0, 1], matrix[..., 0, 0])
    return torch.stack((x, y, z), -1)


def rotation_mean(weights: Tensor, rotations: Tensor) -> Tensor:
    """The rotations R that minimise sum_a weights_a |rotations_a - R|^2 in the Frobenius norm (chordal mean).

    Hartley et al., "Rotation Averaging", IJCV 2013, sec. 5.3; weights may be negative and need no sum.

    Args:
        weights: [..., A].
        rotations: [A, 3, 3], or [..., A, 3, 3].

    Returns:
        [..., 3, 3]: the weighted sum, projected by `nearest_rotation`, whose words on the gradient hold here.

    Raises:
        ValueError: shapes that do not fit.
    """
    if rotations.ndim < 3 or rotations.shape[-2:] != (3, 3) or weights.shape[-1:] != rotations.shape[-3:-2]:
        raise ValueError(
            f"rotation_mean: expected weights [..., A] and rotations [..., A, 3, 3], got {list(weights.shape)} and {list(rotations.shape)}"
        )
    if rotations.ndim == 3:
        summed = (weights @ rotations.flatten(1)).unflatten(-1, (3, 3))
    else:
        summed = (weights[..., None, None] * rotations).sum(-3)
    return nearest_rotation(summed, scale=weights.detach().abs().sum(-1))


def nearest_rotation(matrix: Tensor, scale: Tensor | None = None) -> Tensor:
    """The rotation matrices nearest to `matrix` [..., 3, 3] in the Frobenius norm (special orthogonal Procrustes).

    The gradient is the closed form of Papadopoulo and Lourakis (ECCV 2000) for the product U V^T. It stays finite where singular values are
    equal, where that of the decomposition itself is not, and is zero where no rotation is nearest.

    Args:
        matrix: [..., 3, 3].
        scale: [...], a size beside which rounding errors of `matrix` are judged; by default its largest singular value.

    Returns:
        [..., 3, 3]; the identity, without gradient, where `matrix` is zero up to rounding. Differentiable once. Half precision is computed
        and returned in float32, under autocast, too.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check("nearest_rotation", "matrix", matrix, (3, 3))
    if scale is not None and scale.shape != matrix.shape[:-2]:
        raise ValueError(f"nearest_rotation: scale must be {list(matrix.shape[:-2])}, got {list(scale.shape)}")
    with torch.autocast(matrix.device.type, enabled=False):
        return _NearestRotation.apply(matrix.to(torch.promote_types(matrix.dtype, torch.float32)), scale)


class _NearestRotation(torch.autograd.Function):
    """With M = U S V^T and d = det(U V^T): R = U diag(1, 1, d) V^T; d R = U' K V^T with K = (X - X^T) / (s'_i + s'_j), X = U'^T d M V."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, scale: Tensor | None) -> Tensor:
        u, s, vh = torch.linalg.svd(matrix)
        sign = torch.ones_like(s)
        sign[..., 2] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0)
        turned = u * sign[..., None, :]  # U'
        signed = s * sign
        rounding = 8 * torch.finfo(matrix.dtype).eps
        limit = rounding * (s[..., 0] if scale is None else torch.maximum(s[..., 0], scale.to(s)))
        is_zero = s[..., 0] <= limit
        ctx.save_for_backward(turned, signed, vh, limit, is_zero)
        rotation = turned @ vh
        return torch.where(is_zero[..., None, None], torch.eye(3, dtype=matrix.dtype, device=matrix.device), rotation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        turned, signed, vh, limit, is_zero = ctx.saved_tensors
        x = turned.mT @ grad @ vh.mT
        sums = signed[..., :, None] + signed[..., None, :]
        is_determined = (sums > limit[..., None, None]) & ~is_zero[..., None, None]
        k = torch.where(is_determined, (x - x.mT) / torch.where(is_determined, sums, 1), 0)
        return turned @ k @ vh, None


def _check(function: str, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if value.shape[-len(shape) :] != shape or not value.is_floating_point():
        wanted = ", ".join(str(size) for size in ("...", *shape))
        raise ValueError(f"{function}: {name} must be floating point [{wanted}], got {value.dtype} {list(value.shape)}")
