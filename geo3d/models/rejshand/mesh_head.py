"""The mesh head of ReJSHand: tokens sampled where the joints are seen grow into the vertices of a hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.rejshand.interaction import BoneFeatures, CoordinateAttention, Expansion, InteractionBlock

ENLARGEMENT = 4  # of the map, by a transposed convolution whose kernel is as large as its stride


class MeshHead(nn.Module):
    """Vertices from a feature map and the joints' places in the image; the defaults are the released head.

    Args:
        in_channels: of the feature map.
        num_vertices: of the mesh.
        token_counts: tokens of each level; the first is the number of joints.
        widths: channels of each level, multiples of `heads`.
        map_channels: of the enlarged map, a multiple of 4.
        heads: of the attentions.
        map_size: height and width of the map that is expected; others work and cost a little more.
        parents: of each joint, for bone features (`BoneFeatures`); none without it.
        coordinate_attention: gate rows and columns of the enlarged map (`CoordinateAttention`).

    Raises:
        ValueError: numbers that do not fit together.
    """

    encoding: Tensor

    def __init__(
        self,
        in_channels: int,
        num_vertices: int = 778,
        token_counts: Sequence[int] = (21, 84, 336),
        widths: Sequence[int] = (256, 128, 64),
        map_channels: int = 256,
        heads: int = 8,
        map_size: int = 7,
        parents: Sequence[int] | None = None,
        coordinate_attention: bool = False,
    ):
        super().__init__()
        if len(token_counts) != len(widths) or not widths:
            raise ValueError(f"MeshHead: expected as many widths as token_counts, got {list(widths)} and {list(token_counts)}")
        if map_channels % 4:
            raise ValueError(f"MeshHead: map_channels must be a multiple of 4, got {map_channels}")
        if parents is not None and len(parents) != token_counts[0]:
            raise ValueError(f"MeshHead: expected a parent for each of {token_counts[0]} joints, got {len(parents)}")
        self.enlarge = nn.ConvTranspose2d(in_channels, map_channels, ENLARGEMENT, stride=ENLARGEMENT, bias=False)
        self.norm = nn.BatchNorm2d(map_channels)
        self.coordinate_attention = CoordinateAttention(map_channels) if coordinate_attention else None
        side = ENLARGEMENT * map_size
        self.register_buffer("encoding", sine_encoding(side, side, map_channels), persistent=False)
        before = [map_channels, *widths]
        self.positions = nn.ParameterList(
            nn.Parameter(torch.empty(1, count, width)) for count, width in zip(token_counts, before, strict=False)
        )
        self.projections = nn.ModuleList(nn.Linear(before[i], width) for i, width in enumerate(widths))
        self.bones = BoneFeatures(widths[0], parents) if parents is not None else None
        self.blocks = nn.ModuleList(InteractionBlock(width, heads) for width in widths)
        after = [*token_counts[1:], num_vertices]
        self.expansions = nn.ModuleList(Expansion(count, after[i]) for i, count in enumerate(token_counts))
        self.coordinates = nn.Linear(widths[-1], 3)
        for position in self.positions:
            nn.init.trunc_normal_(position, std=0.02)

    def forward(self, features: Tensor, keypoints: Tensor) -> Tensor:
        """features [B, C, H, W], keypoints [B, J, 2] as (u, v) in units of the image's sides -> vertices [B, V, 3]."""
        x = self.sample(self.enlarged(features), keypoints)
        for level, (position, project) in enumerate(zip(self.positions, self.projections, strict=True)):
            x = project(x + position)
            if level == 0 and self.bones is not None:
                x = self.bones(x)
            x = self.expansions[level](self.blocks[level](x))
        return self.coordinates(x)

    def enlarged(self, features: Tensor) -> Tensor:
        """The map that tokens are sampled from, but for its position encoding: [B, C, H, W] -> [B, D, 4 H, 4 W]."""
        features = F.relu(self.norm(self.enlarge(features)))
        return features if self.coordinate_attention is None else self.coordinate_attention(features)

    def sample(self, features: Tensor, keypoints: Tensor) -> Tensor:
        """Values [B, J, D] of an enlarged map [B, D, H, W], with its position encoding, at keypoints [B, J, 2]; borders go on outside."""
        features = features + encoding_for(features, self.encoding)
        places = (2 * keypoints - 1).clamp(-1, 1)[:, :, None].to(features.dtype)
        return F.grid_sample(features, places, align_corners=True)[..., 0].transpose(1, 2)


def encoding_for(features: Tensor, encoding: Tensor) -> Tensor:
    """The position encoding of a map: the one given where it fits."""
    if features.shape[1:] == encoding.shape:
        return encoding
    return sine_encoding(features.shape[2], features.shape[3], features.shape[1]).to(encoding)


def sine_encoding(height: int, width: int, channels: int, temperature: float = 10000.0) -> Tensor:
    """Position encoding [channels, height, width] of sines and cosines (DETR's): rows in the first half of the channels, columns in the second."""
    half = channels // 2
    periods = temperature ** (2 * (torch.arange(half) // 2).float() / half)
    planes = []
    for size in (height, width):
        places = torch.arange(1, size + 1).float() / (size + 1e-6) * (2 * math.pi)
        waves = places / periods[:, None]  # [half, size]
        planes.append(torch.stack((waves[0::2].sin(), waves[1::2].cos()), 1).flatten(0, 1))
    rows, columns = planes
    return torch.cat((rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)))
