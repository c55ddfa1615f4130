"""Keypoints as the mean place of a heatmap (integral regression: Sun et al., "Integral Human Pose Regression", ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geo3d.models.rejshand.mesh_head import ENLARGEMENT


class HeatmapKeypoints(nn.Module):
    """Keypoints in an image from a feature map: a heatmap for each, four times finer than the map, and its mean place.

    Not of ReJSHand's paper, whose keypoints are a linear function of the pooled map. `heatmap_loss` tells each cell what it should be, from
    which a network learns places in far fewer steps, and the mesh head then samples the map where the joints are.

    Args:
        in_channels: of the feature map.
        num_joints: J.
        channels: of the enlarged map.
    """

    def __init__(self, in_channels: int, num_joints: int, channels: int = 64):
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(in_channels, channels, ENLARGEMENT, stride=ENLARGEMENT, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.heatmaps = nn.Conv2d(channels, num_joints, 1)

    def forward(self, features: Tensor) -> Tensor:
        """features [B, C, H, W] -> keypoints [B, J, 2] as (u, v) in units of the image's sides, inside it."""
        return mean_places(self.logits(features))

    def logits(self, features: Tensor) -> Tensor:
        """features [B, C, H, W] -> heatmaps [B, J, 4 H, 4 W], before the softmax."""
        return self.heatmaps(self.norm(self.enlarge(features)).relu())


def mean_places(logits: Tensor) -> Tensor:
    """Mean places [B, J, 2] of heatmaps [B, J, H, W], as (u, v) in units of the image's sides."""
    height, width = logits.shape[2:]
    shares = logits.flatten(2).softmax(-1).unflatten(-1, (height, width))
    u, v = ((torch.arange(size, device=logits.device) + 0.5).to(logits.dtype) / size for size in (width, height))
    return torch.stack((shares.sum(2) @ u, shares.sum(3) @ v), -1)


def heatmap_loss(logits: Tensor, keypoints: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of heatmaps with the four cells around each keypoint, whose mean place is the keypoint.

    Args:
        logits: [B, J, H, W].
        keypoints: [B, J, 2] as (u, v) in units of the image's sides.
        valid: [B, J] 1 where a keypoint is known and seen, else 0.

    Returns:
        A scalar, in mean over the valid keypoints; 0 without one.
    """
    height, width = logits.shape[2:]
    size = torch.tensor([width, height], device=logits.device)
    places = (keypoints * size - 0.5).clamp(min=0).minimum((size - 1).to(keypoints.dtype))
    low = places.floor().long().minimum(size - 2).clamp(min=0)
    part = places - low
    logs = logits.flatten(2).log_softmax(-1)
    loss = logits.new_zeros(keypoints.shape[:2])
    for right in (0, 1):
        for below in (0, 1):
            share = (part[..., 0] if right else 1 - part[..., 0]) * (part[..., 1] if below else 1 - part[..., 1])
            cell = (low[..., 1] + below) * width + low[..., 0] + right
            loss = loss - share * logs.gather(2, cell[..., None])[..., 0]
    return (valid * loss).sum() / valid.sum().clamp(min=1)
