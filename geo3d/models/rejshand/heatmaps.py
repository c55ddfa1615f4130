"""Keypoints as the mean place of a heatmap (integral regression: Sun et al., "Integral Human Pose Regression", ECCV 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class HeatmapKeypoints(nn.Module):
    """Keypoints in an image from feature maps: a heatmap for each, as fine as the finest map, and its mean place.

    Not of ReJSHand's paper, whose keypoints are a linear function of the pooled map. Coarse maps are enlarged and added to finer ones as in
    a feature pyramid (Lin et al., CVPR 2017); `heatmap_loss` tells each cell what it should be. A network learns places so in far fewer
    steps, and the mesh head then samples the map where the joints are.

    Args:
        in_channels: of the maps, fine to coarse.
        num_joints: J.
        channels: of the pyramid.
    """

    def __init__(self, in_channels: Sequence[int], num_joints: int, channels: int = 96):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(count, channels, 1, bias=False) for count in in_channels)
        self.mixes = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(channels),
                nn.ReLU6(inplace=True),
                nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(inplace=True),
            )
            for _ in in_channels
        )
        self.heatmaps = nn.Conv2d(channels, num_joints, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        """maps [B, C, H, W], fine to coarse -> keypoints [B, J, 2] as (u, v) in units of the image's sides, inside it."""
        return mean_places(self.logits(*maps))

    def logits(self, *maps: Tensor) -> Tensor:
        """maps [B, C, H, W], fine to coarse -> heatmaps [B, J, H, W] as large as the first, before the softmax."""
        x: Tensor | None = None
        for lateral, mix, features in zip(self.laterals[::-1], self.mixes, maps[::-1], strict=True):
            level = lateral(features)
            x = mix(level if x is None else level + F.interpolate(x, size=level.shape[2:], mode="nearest"))
        assert x is not None
        return self.heatmaps(x)


def mean_places(logits: Tensor) -> Tensor:
    """Mean places [B, J, 2] of heatmaps [B, J, H, W], as (u, v) in units of the image's sides."""
    height, width = logits.shape[2:]
    shares = logits.flatten(2).softmax(-1).unflatten(-1, (height, width))
    u, v = ((torch.arange(size, device=logits.device) + 0.5).to(logits.dtype) / size for size in (width, height))
    return torch.stack((shares.sum(2) @ u, shares.sum(3) @ v), -1)


def heatmap_scores(logits: Tensor) -> Tensor:
    """How sure heatmaps [B, J, H, W] are: [B] in 0..1, 1 where each is at one cell, 0 where all cells are equal (by their entropy)."""
    logs = logits.flatten(2).log_softmax(-1)
    entropy = -(logs.exp() * logs).sum(-1).mean(1)
    return 1 - entropy / math.log(logits.shape[2] * logits.shape[3])


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
