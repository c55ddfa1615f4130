"""The blocks of DSVT (section 3.2): attention among the voxels of a set, in sets that run along y and then along x."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.dsvt.sets import PositionEmbedding, RotatedSets, Window, Windows
from geo3d.ops.set_attention import set_attention

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class SetAttention(nn.Module):
    """Multi-head attention among the voxels of each set.

    Args:
        channels: C.
        heads: divides `channels`.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_projection = nn.Linear(channels, 3 * channels)  # query, key and value
        self.out_projection = nn.Linear(channels, channels)

    def forward(self, features: Tensor, position: Tensor, rows: Tensor, padding: Tensor) -> Tensor:
        """features, position [V, C]; rows [S, T] of a set and padding [S, T], True where a slot repeats -> [V, C]."""
        placed = features + position
        query, key, value = (
            F.linear(x, weight, bias)  # [V, C]
            for x, weight, bias in zip(
                (placed, placed, features),
                self.in_projection.weight.chunk(3),
                self.in_projection.bias.chunk(3),
                strict=True,
            )
        )
        return self.out_projection(set_attention(query, key, value, rows, padding, self.heads))


class SetLayer(nn.Module):
    """Set attention and two linear layers, each with a shortcut and layer norm, and a shortcut with layer norm around both.

    Args:
        channels, heads: as in `SetAttention`.
        feedforward: width between the two linear layers.
        activation: "gelu" or "relu".
    """

    def __init__(self, channels: int, heads: int, feedforward: int, activation: str):
        super().__init__()
        self.attention = SetAttention(channels, heads)
        self.attention_norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, feedforward)
        self.narrow = nn.Linear(feedforward, channels)
        self.feedforward_norm = nn.LayerNorm(channels)
        self.norm = nn.LayerNorm(channels)
        self.activation = ACTIVATIONS[activation]

    def forward(self, features: Tensor, position: Tensor, rows: Tensor, padding: Tensor) -> Tensor:
        """features, position [V, C], rows [S, T], padding [S, T] bool -> [V, C]; every row must be in a set."""
        x = self.attention_norm(features + self.attention(features, position, rows, padding))
        x = self.feedforward_norm(x + self.narrow(self.activation(self.widen(x))))
        return self.norm(x + features)


class Block(nn.Module):
    """Two layers whose sets run along y and along x, in one partition of the grid, with a shortcut and layer norm around both.

    Args:
        windows: the two partitions of the stage.
        partition: 0 or 1, the one whose sets attend.
        dimensions: of the position embedding, 2 or 3.
        channels, heads, feedforward, activation: as in `SetLayer`.
        matched_positions, normalize_positions: as in `DSVTBackbone`.
    """

    def __init__(
        self,
        windows: tuple[Window, Window],
        partition: int,
        dimensions: int,
        channels: int,
        heads: int,
        feedforward: int,
        activation: str,
        matched_positions: bool = False,
        normalize_positions: bool = False,
    ):
        super().__init__()
        self.partition = partition
        self.embedded = (partition, partition) if matched_positions else (0, 1)  # whose places each layer is told
        self.positions = nn.ModuleList(
            PositionEmbedding(windows[k].shape, dimensions, channels, normalize_positions) for k in self.embedded
        )
        self.layers = nn.ModuleList(SetLayer(channels, heads, feedforward, activation) for _ in range(2))
        self.norm = nn.LayerNorm(channels)

    def embed(self, windows: tuple[Windows, Windows]) -> list[Tensor]:
        """Embeddings [V, C] of the voxels' places for each layer."""
        return [embedding(windows[k].places) for embedding, k in zip(self.positions, self.embedded, strict=True)]

    def forward(self, features: Tensor, positions: list[Tensor], sets: RotatedSets) -> Tensor:
        """features [V, C] -> [V, C]."""
        x = features
        for layer, position, rows, padding in zip(self.layers, positions, sets.rows, sets.padding, strict=True):
            x = layer(x, position, rows, padding)
        return self.norm(x + features)
