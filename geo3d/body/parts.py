"""Parts of a body: which joint a point of the surface belongs to."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.body.kinematics import SMPL_JOINTS

PARTS = (
    22  # the joints without the hands, which are part of the wrists; no point belongs to the toes, which are part of the ankles
)
MERGED = {"left_hand": "left_wrist", "right_hand": "right_wrist", "left_foot": "left_ankle", "right_foot": "right_ankle"}


def part_labels(skinning: Tensor) -> Tensor:
    """Part [...] int64 of points with skinning weights [..., 24]: the joint with the largest weight, hands and toes merged.

    Raises:
        ValueError: not 24 weights.
    """
    if skinning.shape[-1:] != (len(SMPL_JOINTS),):
        raise ValueError(f"part_labels: skinning must be [..., {len(SMPL_JOINTS)}], got {list(skinning.shape)}")
    merged = [SMPL_JOINTS.index(MERGED.get(name, name)) for name in SMPL_JOINTS]
    return torch.tensor(merged, device=skinning.device)[skinning.argmax(-1)]


def part_means(points: Tensor, weights: Tensor) -> Tensor:
    """Mean point of each part: points [B, N, 3], weights [B, N, P] -> [B, P, 3], zero for a part without weight."""
    return (weights / weights.abs().sum(1, keepdim=True).clamp(min=1e-12)).mT @ points
