"""The heads of ArtEq: part segmentation, aggregation of the points of each part, attention, and what is read off it.

Feng et al., "Generalizing Neural Human Fitting to Unseen Poses With Articulated SE(3) Equivariance", ICCV 2023, sec. 3.2 to 3.4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two layers beside a linear one, activation first (He et al., 2016; as in PointNet with residual blocks)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.first = nn.Linear(in_channels, out_channels)
        self.second = nn.Linear(out_channels, out_channels)
        self.shortcut = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, O]."""
        return self.shortcut(features) + self.second(self.first(features.relu()).relu())


class PartSegmenter(nn.Module):
    """Scores of the parts of each point, from features that rotation does not change.

    Args:
        in_channels: C.
        parts: number of parts.
        hidden: width of the blocks.
    """

    def __init__(self, in_channels: int, parts: int, hidden: int = 128):
        super().__init__()
        self.embed = nn.Linear(in_channels, 2 * hidden)
        self.blocks = nn.ModuleList([ResidualBlock(2 * hidden, hidden) for _ in range(4)])
        self.classify = nn.Linear(hidden, parts)

    def forward(self, features: Tensor) -> Tensor:
        """[B, N, C] -> scores before the softmax [B, N, parts]."""
        first, *others = self.blocks
        features = first(self.embed(features))
        for block in others:
            of_cloud = features.max(1, keepdim=True).values.expand_as(features)
            features = block(torch.cat([features, of_cloud], -1))
        return self.classify(features.relu())


class SelfAttention(nn.Module):
    """Multi-head attention among tokens, with a bias in the last layer alone."""

    def __init__(self, channels: int, out_channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.combine = nn.Linear(channels, out_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """[S, T, C] -> [S, T, O]."""
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.combine(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class AttentionStack(nn.Module):
    """Two layers of attention, the first beside the identity; no normalisation and no positions."""

    def __init__(self, channels: int, out_channels: int, heads: int = 8):
        super().__init__()
        if channels % heads:
            raise ValueError(f"AttentionStack: heads must divide the channels, got {heads} heads for {channels} channels")
        self.layers = nn.ModuleList([SelfAttention(channels, channels, heads), SelfAttention(channels, out_channels, heads)])

    def forward(self, tokens: Tensor) -> Tensor:
        """[S, T, C] -> [S, T, O]."""
        first, last = self.layers
        return last(tokens + first(tokens))


def two_layers(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    """Linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(in_channels, hidden), nn.ReLU(), nn.Linear(hidden, out_channels))
