"""Local reference axes: the direction in which a set of points spreads least."""

from __future__ import annotations

import torch
from torch import Tensor


def reference_axis(offsets: Tensor) -> Tensor:
    """Weighted local reference axis of sets of points (RISurConv, section "Local reference axis").

    The eigenvector of the smallest eigenvalue of the covariance in which nearer points weigh more. Its sign is chosen so that the
    third moment of the points along it is not negative, which makes the axis turn with the points.

    Args:
        offsets: [..., k, 3] points relative to the point or centroid that the axis belongs to.

    Returns:
        [..., 3] unit vectors; not differentiable.
    """
    offsets = offsets.detach()
    lengths = offsets.norm(dim=-1)
    weights = lengths.amax(-1, keepdim=True) - lengths
    total = weights.sum(-1, keepdim=True)
    weights = torch.where(total > 0, weights / total, 1.0)  # all points equally far: every one counts the same
    covariance = torch.einsum("...k,...ki,...kj->...ij", weights, offsets, offsets)
    axis = torch.linalg.eigh(covariance).eigenvectors[..., 0]
    skew = (offsets @ axis[..., None])[..., 0].pow(3).sum(-1, keepdim=True)
    return torch.where(skew < 0, -axis, axis)
