"""The parts of a DSVT detector that are exported, in plain torch on dense tensors; they share its weights.

What depends on the points (voxels, windows, sets, pooling cells) comes in as tensors of indices. Sets and padding are those of
`geo3d.ops.set_partition`, so that only the number of voxels and of sets varies.
"""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.blocks import Block, SetAttention
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.models.dsvt.pooling import AttentionPooling, LinearPooling


class GatheredSetAttention(nn.Module):
    """`SetAttention` by gathering the slots of all sets, and writing all of them back: slots of the same row hold the same."""

    def __init__(self, attention: SetAttention):
        super().__init__()
        self.heads = attention.heads
        channels = attention.out_projection.in_features
        self.placed_projection = _rows_of(attention.in_projection, 0, 2 * channels)  # query and key
        self.value_projection = _rows_of(attention.in_projection, 2 * channels, 3 * channels)
        self.out_projection = attention.out_projection
        self.scale = (channels // attention.heads) ** -0.5

    def forward(self, features: Tensor, position: Tensor, rows: Tensor, padding: Tensor) -> Tensor:
        """features, position [V, C], rows [S, T], padding [S, T] bool -> [V, C]; every row must be in a set."""
        placed = F.embedding(rows, self.placed_projection(features + position))  # [S, T, 2 C]
        query, key = (self._heads(x) for x in placed.chunk(2, 2))
        value = self._heads(F.embedding(rows, self.value_projection(features)))  # [S, heads, T, C / heads]
        scores = (query * self.scale) @ key.transpose(2, 3)
        weights = scores.masked_fill(padding[:, None, None], -torch.inf).softmax(3)
        mixed = (weights @ value).transpose(1, 2).flatten(2)  # [S, T, C]
        return self.out_projection(torch.zeros_like(features).index_put((rows,), mixed))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class DeployedBlocks(nn.Module):
    """The blocks of a stage.

    Attributes:
        partitions: those of 0 and 1 whose sets the blocks use.
    """

    def __init__(self, stage: Stage):
        super().__init__()
        self.partitions = list(stage.partitions)
        self.blocks = copy.deepcopy(stage.blocks)
        for block in cast("list[Block]", self.blocks):
            del block.positions
            for layer in block.layers:
                layer.attention = GatheredSetAttention(cast(SetAttention, layer.attention))

    def forward(self, *tensors: Tensor) -> Tensor:
        """Features [V, C] of the voxels after the blocks.

        Args:
            tensors: features [V, C]; sets [2, S_k, T] int64 of each partition k in `partitions`; the padding [2, S_k, T] bool of
                each; embeddings [blocks, 2, V, C] of the places for each block and layer.
        """
        features, *partitions, positions = tensors
        count = len(self.partitions)
        of_partition = dict(zip(self.partitions, zip(partitions[:count], partitions[count:], strict=True), strict=True))
        for number, block in enumerate(cast("list[Block]", self.blocks)):
            rows, padding = of_partition[block.partition]
            x = features
            for i, layer in enumerate(block.layers):
                x = layer(x, positions[number, i], rows[i], padding[i])
            features = block.norm(x + features)
        return features


class DeployedPooling(nn.Module):
    """The pooling between two stages, over the slots of each cell side by side."""

    def __init__(self, pool: nn.Module):
        super().__init__()
        self.pool = pool

    def forward(self, features: Tensor, voxel_of_slot: Tensor) -> Tensor:
        """features [V, C], voxel_of_slot [M, K] int64 rows of features, V where a slot is empty -> [M, C]."""
        slots = F.embedding(voxel_of_slot, torch.cat([features, torch.zeros_like(features[:1])]))  # [M, K, C]
        if isinstance(self.pool, AttentionPooling):
            return self._attention(self.pool, slots)
        if isinstance(self.pool, LinearPooling):
            return self.pool.norm(self.pool.linear(slots.flatten(1)))
        return slots.amax(1)

    def _attention(self, pool: AttentionPooling, slots: Tensor) -> Tensor:
        weights, biases = pool.in_projection.weight.chunk(3), pool.in_projection.bias.chunk(3)
        query = slots.amax(1)  # [M, C]
        q = F.linear(query, weights[0], biases[0]).unflatten(1, (pool.heads, 1, -1))  # [M, heads, 1, C / heads]
        k = F.linear(slots + pool.position, weights[1], biases[1]).unflatten(2, (pool.heads, -1)).transpose(1, 2)
        v = F.linear(slots, weights[2], biases[2]).unflatten(2, (pool.heads, -1)).transpose(1, 2)  # [M, heads, K, C / heads]
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
        return pool.norm(pool.out_projection((scores.softmax(3) @ v).flatten(1)) + query)


class DeployedMap(nn.Module):
    """2D backbone and head.

    Attributes:
        names: of the outputs, fields of the head's.
    """

    def __init__(self, network: DSVTDetector, names: list[str]):
        super().__init__()
        self.bev, self.head, self.names = network.bev, network.head, names

    def forward(self, bev_map: Tensor) -> tuple[Tensor, ...]:
        """bev_map [B, C, ny, nx] -> the head's outputs in the order of `names`."""
        outputs: Any = self.head(self.bev(bev_map))
        return tuple(getattr(outputs, name) for name in self.names)


def voxel_of_slot(cell_of_voxel: Tensor, slot_of_voxel: Tensor, cells: int, capacity: int) -> Tensor:
    """The voxel in each slot of M cells with K slots, V in empty ones: [M, K] int64, from what `pooling_partition` gives."""
    count = len(cell_of_voxel)
    rows = torch.arange(count, device=cell_of_voxel.device)
    empty = torch.full((cells * capacity,), count, device=cell_of_voxel.device)
    return empty.index_copy(0, cell_of_voxel * capacity + slot_of_voxel, rows).view(cells, capacity)


def _rows_of(linear: nn.Linear, first: int, last: int) -> nn.Linear:
    part = nn.Linear(linear.in_features, last - first)
    part.weight, part.bias = nn.Parameter(linear.weight[first:last].detach()), nn.Parameter(linear.bias[first:last].detach())
    return part
