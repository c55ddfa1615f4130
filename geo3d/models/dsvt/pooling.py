"""Pooling of voxels into a coarser grid (DSVT, section 3.3, "attention-style 3D pooling", and its two plainer rivals)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.ops import ScatterPlan, gather, scatter_amax, scatter_plan, scatter_sum


class Cells(NamedTuple):
    """The cells that voxels are pooled into.

    Attributes:
        plan: which of the M cells each of the V voxels is in.
        slots: [V] int64, where in its cell, in [0, K).
        capacity: K, voxels that a cell can hold.
    """

    plan: ScatterPlan
    slots: Tensor
    capacity: int

    @classmethod
    def from_partition(cls, cell_of_voxel: Tensor, slot_of_voxel: Tensor, count: int, capacity: int) -> Cells:
        """cell_of_voxel, slot_of_voxel [V] of `pooling_partition`; `count` cells of at most `capacity` voxels."""
        return cls(scatter_plan(cell_of_voxel, count), slot_of_voxel, capacity)

    def dense(self, values: Tensor) -> Tensor:
        """values [V, C] -> [M, K, C], zero in empty slots."""
        spread = values.new_zeros(self.plan.rows * self.capacity, values.shape[1])
        return spread.index_copy(0, self.address, values).view(self.plan.rows, self.capacity, values.shape[1])

    @property
    def address(self) -> Tensor:
        """[V] int64, the row of each voxel among all slots of all cells; no two are alike."""
        return self.plan.target * self.capacity + self.slots

    def maximum(self, features: Tensor) -> Tensor:
        """features [V, C] -> [M, C]; as in the released code an empty slot counts as zero."""
        best = scatter_amax(features, self.plan)
        return torch.where((self.plan.counts < self.capacity)[:, None], best.clamp(min=0), best)


class AttentionPooling(nn.Module):
    """Attention of the maximum of each cell to its slots. Empty slots take part with features of zero, as in the released code.

    Keys and values are projected per voxel; those of an empty slot are the same in all cells.

    Args:
        channels: C.
        capacity: K, slots of a cell.
        heads: of the attention; 8 in the released code whatever the network has.
    """

    def __init__(self, channels: int, capacity: int, heads: int = 8):
        super().__init__()
        if channels % heads:
            raise ValueError(f"AttentionPooling: heads must divide channels, got {heads} and {channels}")
        self.heads = heads
        self.position = nn.Parameter(torch.zeros(capacity, channels))
        self.in_projection = nn.Linear(channels, 3 * channels)  # query, key and value
        self.out_projection = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, cells: Cells) -> Tensor:
        """features [V, C] -> [M, C]."""
        query = cells.maximum(features)  # [M, C]
        weights, biases = self.in_projection.weight.chunk(3), self.in_projection.bias.chunk(3)
        q = F.linear(query, weights[0], biases[0]).unflatten(1, (self.heads, -1))  # [M, heads, C / heads]
        k = F.linear(features, weights[1]).unflatten(1, (self.heads, -1))  # [V, heads, C / heads]
        v = F.linear(features, weights[2])  # [V, C]; the bias, which every slot has, follows below
        k_slots = F.linear(self.position, weights[1], biases[1]).unflatten(1, (self.heads, -1))  # [K, heads, C / heads]
        scores = torch.einsum("mhc,khc->mkh", q, k_slots)
        scores = scores + cells.dense((gather(q.flatten(1), cells.plan.target).view_as(k) * k).sum(-1))  # [M, K, heads]
        attention = (scores.float() / math.sqrt(k.shape[2])).softmax(1)
        of_voxel = attention.flatten(0, 1).index_select(0, cells.address)  # [V, heads]
        weighted = v * of_voxel.to(v.dtype).repeat_interleave(k.shape[2], 1)
        mixed = scatter_sum(weighted, cells.plan) + biases[2]  # the weights of a cell sum to one
        return self.norm(self.out_projection(mixed) + query)


class LinearPooling(nn.Module):
    """Linear layer over the slots side by side, and layer norm. Arguments and call as in `AttentionPooling`."""

    def __init__(self, channels: int, capacity: int):
        super().__init__()
        self.linear = nn.Linear(capacity * channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, cells: Cells) -> Tensor:
        """features [V, C] -> [M, C]."""
        return self.norm(self.linear(cells.dense(features).flatten(1)))


class MaxPooling(nn.Module):
    """The maximum over the slots. Call as in `AttentionPooling`."""

    def forward(self, features: Tensor, cells: Cells) -> Tensor:
        """features [V, C] -> [M, C]."""
        return cells.maximum(features)
