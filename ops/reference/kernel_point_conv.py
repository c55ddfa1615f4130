"""Definition of convolution by rotated kernel points in plain torch."""

from __future__ import annotations

from torch import Tensor


def kernel_point_conv(
    features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """features [B, A, N, C], points [B, N, 3], centers [B, M, 3], indices [B, M, n] (-1: none), kernel_points [A, K, 3],
    weight [O, K, C] -> [B, A, M, O]."""
    rows = indices.clamp(min=0).long().flatten(1)  # [B, M n]
    neighbors = points.gather(1, rows[..., None].expand(-1, -1, 3)).view(*indices.shape, 3)
    offsets = (neighbors - centers[:, :, None])[:, None, :, None]  # [B, 1, M, 1, n, 3]
    squared = (offsets - kernel_points[:, None, :, None]).square().sum(-1)  # [B, A, M, K, n]
    closeness = (1 - squared / sigma).clamp(min=0) * (indices >= 0)[:, None, :, None]
    index = rows[:, None, :, None].expand(-1, features.shape[1], -1, features.shape[3])
    gathered = features.gather(2, index).unflatten(2, indices.shape[1:])  # [B, A, M, n, C]
    summed = closeness.to(features.dtype) @ gathered  # [B, A, M, K, C]
    return summed.flatten(3) @ weight.flatten(1).T
