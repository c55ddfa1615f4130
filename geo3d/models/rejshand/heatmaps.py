"""Keypoints as the mean place of a heatmap (integral regression: Sun et al., "Integral Human Pose Regression", ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geo3d.models.rejshand.mesh_head import ENLARGEMENT


class HeatmapKeypoints(nn.Module):
    """Keypoints in an image from a feature map: a heatmap for each, four times finer than the map, and its mean place.

    Not of ReJSHand's paper, whose keypoints are a linear function of the pooled map. These know places from the start, so that they are
    right after far fewer steps, and the mesh head samples the map where the joints are.

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
        maps = self.heatmaps(self.norm(self.enlarge(features)).relu())
        height, width = maps.shape[2:]
        shares = maps.flatten(2).softmax(-1).unflatten(-1, (height, width))
        u, v = ((torch.arange(size, device=maps.device) + 0.5).to(maps.dtype) / size for size in (width, height))
        return torch.stack((shares.sum(2) @ u, shares.sum(3) @ v), -1)
