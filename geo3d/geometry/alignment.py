"""Alignment of corresponding points by a rotation, a scale and a translation (orthogonal Procrustes), and the place of a body before a camera."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-8  # added to lengths that are divided by, as FreiHAND's evaluation has it: points that all coincide stay finite


def similarity_aligned(points: Tensor, target: Tensor, reflections: bool = False) -> Tensor:
    """Points moved, turned and scaled to be nearest to others in the least squares.

    Args:
        points, target: [..., N, 3], in the same order.
        reflections: mirror the points where that is nearer, as FreiHAND's official evaluation does.

    Returns:
        [..., N, 3]. Points that all coincide go to the mean of the target.

    Raises:
        ValueError: shapes that differ.
    """
    rotation, scale, (center, target_center), (size, target_size) = _procrustes(points, target, reflections)
    return (points - center) / size @ rotation * scale * target_size + target_center


def rigid_aligned(points: Tensor, target: Tensor) -> Tensor:
    """points, target [B, N, 3] -> points turned and moved onto the target [B, N, 3], without a change of scale and without mirroring."""
    rotation, _, (center, target_center), _ = _procrustes(points, target, False)
    return (points - center) @ rotation + target_center


def _procrustes(
    points: Tensor, target: Tensor, reflections: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Rotation [..., 3, 3] of rows, scale of points of unit size, centres and sizes."""
    if points.shape != target.shape or points.ndim < 2 or points.shape[-1] != 3:
        shapes = f"{list(points.shape)} and {list(target.shape)}"
        raise ValueError(f"alignment: points and target must both be [..., N, 3], got {shapes}")
    centers = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    centered = points - centers[0], target - centers[1]
    sizes = [x.flatten(-2).norm(dim=-1)[..., None, None] + EPS for x in centered]
    with torch.autocast(points.device.type, enabled=False):  # half precision is too coarse for angles
        u, s, vh = torch.linalg.svd((centered[0] / sizes[0]).mT @ (centered[1] / sizes[1]))
        if not reflections:
            sign = torch.ones_like(s)
            sign[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0)
            u, s = u * sign[..., None, :], s * sign
        return u @ vh, s.sum(-1)[..., None, None], centers, (sizes[0], sizes[1])


def solve_translation(points: Tensor, pixels: Tensor, camera_matrix: Tensor, weights: Tensor | None = None) -> Tensor:
    """Translation that takes points of known shape before a camera to where their images are seen, in the least squares.

    The equations u = fx x / z + cx, times z, are linear in the translation. The depth is as sure as the focal length and the size of the
    points: with a focal length wrong by some percent it is wrong by as many.

    Args:
        points: [B, N, 3] metres, relative to any origin, in the camera's axes: x right, y down, z forward.
        pixels: [B, N, 2].
        camera_matrix: [B, 3, 3] or [3, 3].
        weights: [B, N] of the points; equal ones without.

    Returns:
        [B, 3] metres. Where the points' images all but coincide it means nothing.

    Raises:
        ValueError: shapes that do not fit.
    """
    if (
        points.ndim != 3
        or points.shape[-1] != 3
        or pixels.shape != (*points.shape[:2], 2)
        or camera_matrix.shape[-2:] != (3, 3)
    ):
        shapes = f"{list(points.shape)}, {list(pixels.shape)} and {list(camera_matrix.shape)}"
        raise ValueError(f"solve_translation: expected points [B, N, 3], pixels [B, N, 2] and a matrix [3, 3], got {shapes}")
    homogeneous = torch.cat((pixels, torch.ones_like(pixels[..., :1])), -1)
    rays = homogeneous @ torch.linalg.inv(camera_matrix).mT  # z = 1
    one, zero = torch.ones_like(rays[..., 0]), torch.zeros_like(rays[..., 0])
    rows = torch.stack((one, zero, -rays[..., 0], zero, one, -rays[..., 1]), -1).unflatten(-1, (2, 3))
    values = rays[..., :2] * points[..., 2:] - points[..., :2]
    if weights is not None:
        rows, values = rows * weights[..., None, None], values * weights[..., None]
    a, b = rows.flatten(1, 2), values.flatten(1)[..., None]
    return torch.linalg.solve(a.mT @ a + EPS * torch.eye(3, dtype=a.dtype, device=a.device), a.mT @ b)[..., 0]
