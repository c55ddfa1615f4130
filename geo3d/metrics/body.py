"""Metrics of fitted bodies: distances of vertices and joints, without any alignment, and accuracy of the parts."""

from __future__ import annotations

from torch import Tensor


def mean_distance_cm(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance in centimetres of corresponding points [B, V, 3] in metres: [B]. V2V of vertices, MPJPE of joints.

    Raises:
        ValueError: shapes that differ.
    """
    if predicted.shape != target.shape or predicted.shape[-1:] != (3,):
        raise ValueError(f"mean_distance_cm: expected two [B, V, 3], got {list(predicted.shape)} and {list(target.shape)}")
    return 100 * (predicted - target).norm(dim=-1).mean(-1)


def part_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Share [B] of the points whose part [B, N] has the highest score [B, N, P]."""
    return (scores.argmax(-1) == labels).float().mean(-1)
