"""The parts of ReJSHand's mesh head (arXiv 2503.05995, section 3): feature interaction, expansion, and what only the paper's text has.

Tokens are [B, L, C].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenAttention(nn.Module):
    """Attention of tokens among themselves.

    Args:
        channels: C.
        heads: divides `channels`.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    def __init__(self, channels: int, heads: int = 8):
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"TokenAttention: heads must divide the channels, got {heads} heads for {channels} channels")
        self.heads = heads
        self.queries = nn.Linear(channels, channels)
        self.keys = nn.Linear(channels, channels)
        self.values = nn.Linear(channels, channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, L, C] -> the same shape."""
        parts = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.queries, self.keys, self.values))
        return self.project(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))


class InteractionBlock(nn.Module):
    """Refined joint features attend to each other; the skeleton features, here the block's input, are added before and after a layer.

    Args:
        channels: C.
        heads: divides `channels`.
    """

    def __init__(self, channels: int, heads: int = 8):
        super().__init__()
        self.refine = nn.Linear(channels, channels)  # the paper's "semantic graph convolution", which has no graph in the code
        self.attention = TokenAttention(channels, heads)
        self.mix = nn.Linear(channels, channels)

    def forward(self, skeleton: Tensor) -> Tensor:
        """skeleton [B, L, C] -> the same shape."""
        return F.relu(self.mix(self.attention(self.refine(skeleton)) + skeleton) + skeleton)


class Expansion(nn.Linear):
    """More tokens: each new one is a weighted sum of the old ones, with the same weights for every channel.

    Args:
        tokens, new_tokens: L and M.
    """

    def __init__(self, tokens: int, new_tokens: int):
        super().__init__(tokens, new_tokens)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, L, C] -> [B, M, C]."""
        return self.weight @ x + self.bias[:, None]


class BoneFeatures(nn.Module):
    """Skeleton features from the kinematic tree: each joint's token gains what a layer makes of its difference from its parent's.

    The paper names skeleton features as a stream of their own; the released code has none.

    Args:
        channels: C.
        parents: of each joint; -1 for the root, whose difference is zero.
    """

    parents: Tensor

    def __init__(self, channels: int, parents: Sequence[int]):
        super().__init__()
        places = [joint if parent < 0 else parent for joint, parent in enumerate(parents)]
        self.register_buffer("parents", torch.tensor(places), persistent=False)
        self.encode = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, J, C] -> the same shape."""
        return x + self.encode(x - x[:, self.parents])


class CoordinateAttention(nn.Module):
    """Gates for the rows and the columns of a map (Hou et al., Coordinate Attention, CVPR 2021), named in the paper, not in its code.

    Args:
        channels: C.
        reduction: C over the width of the layer between.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        width = max(8, channels // reduction)
        self.reduce = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish())
        self.gate_rows = nn.Conv2d(width, channels, 1)
        self.gate_columns = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> the same shape."""
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)
        both = self.reduce(torch.cat((rows, columns), 2))
        rows, columns = both.split((x.shape[2], x.shape[3]), 2)
        return x * self.gate_rows(rows).sigmoid() * self.gate_columns(columns.transpose(2, 3)).sigmoid()
