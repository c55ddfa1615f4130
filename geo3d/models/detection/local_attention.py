"""The decoder layer of TransFusion's head with attention to the cells around each query."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.detection.grid import flat_cells


class LocalDecoderLayer(nn.Module):
    """Attention of each query to itself and to the cells around it, then two linear layers; layer norm after each.

    A key is the same for all queries that see it, so keys are embedded and projected once per cell, not once per query and cell.

    Args:
        channels: C.
        heads: attention heads; divides `channels`.
        feedforward: width between the two linear layers.
        radius: reach of the attention in cells, along x and along y.
        wrap: cells beyond the y border are taken from the next or the previous x.
    """

    def __init__(self, channels: int, heads: int, feedforward: int, radius: int, wrap: bool = False):
        super().__init__()
        if channels % heads:
            raise ValueError(f"LocalDecoderLayer: heads must divide channels, got {heads} and {channels}")
        self.heads, self.radius, self.wrap = heads, radius, wrap
        self.query_position = PositionEmbedding(channels)
        self.key_position = PositionEmbedding(channels)
        self.self_value = nn.Linear(channels, channels)  # attention to a single token is its value
        self.self_project = nn.Linear(channels, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, feedforward)
        self.narrow = nn.Linear(feedforward, channels)
        self.norm3 = nn.LayerNorm(channels)
        self._initialize(channels)

    def forward(self, queries: Tensor, cells: Tensor, features: Tensor, shape: tuple[int, int]) -> Tensor:
        """Queries after the layer.

        Args:
            queries: [B, P, C].
            cells: [B, P, 2] int64 (x, y), where they are.
            features: [B, N, C] of all cells of the map, row by row.
            shape: rows ny and columns nx of the map, ny * nx = N.

        Returns:
            [B, P, C].
        """
        position = self.query_position(cells.flatten(0, 1) + 0.5).view_as(queries)
        x = self.norm1(queries + self.self_project(self.self_value(queries + position)))
        visible, occurrences = self._visible(cells, shape)  # [B, P, N] bool or log counts, [N]
        keys = features + self.key_position(_cell_centers(shape, cells.device), occurrences)  # [B, N, C]
        x = self.norm2(x + self._attend(x + position, keys, visible))
        return self.norm3(x + self.narrow(self.widen(x).relu()))

    def _attend(self, queries: Tensor, keys: Tensor, visible: Tensor) -> Tensor:
        """queries [B, P, C], keys [B, N, C], which are the values too -> [B, P, C]."""
        query = _split(self.query(queries), self.heads)  # [B, heads, P, C / heads]
        key, value = self.key_value(keys).chunk(2, -1)
        mask = visible if visible.dtype == torch.bool else visible.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, _split(key, self.heads), _split(value, self.heads), mask[:, None])
        return self.project(mixed.transpose(1, 2).flatten(2))

    def _visible(self, cells: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What each query sees [B, P, N], as a mask or added to the attention's logits, and how often each cell is seen [N]."""
        if self.wrap:
            return self._visible_wrapped(cells, shape)
        rows, columns = shape
        x, y = cells.unbind(-1)  # [B, P]
        near_x = (torch.arange(columns, device=cells.device) - x[..., None]).abs() <= self.radius  # [B, P, nx]
        near_y = (torch.arange(rows, device=cells.device) - y[..., None]).abs() <= self.radius  # [B, P, ny]
        visible = (near_y[..., :, None] & near_x[..., None, :]).flatten(-2)
        return visible, visible.sum((0, 1))

    def _visible_wrapped(self, cells: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """As the released code: neighbours by their place in the map flattened along y; a cell can be seen several times."""
        rows, columns = shape
        steps = torch.arange(-self.radius, self.radius + 1, device=cells.device)
        x, y = cells.unbind(-1)
        place = (x[..., None, None] + steps[:, None]) * rows + y[..., None, None] + steps  # [B, P, S, S]
        place = place.flatten(-2)
        on_map = (place >= 0) & (place < rows * columns)
        place = place.clamp(0, rows * columns - 1)
        cell = flat_cells(torch.stack((place // rows, place % rows), -1), columns)
        counts = torch.zeros(*cells.shape[:2], rows * columns, device=cells.device).scatter_add_(2, cell, on_map.float())
        # the norm of the key positions sees the places off the map too, as the cell that they are clamped to
        return counts.log(), torch.bincount(cell.flatten(), minlength=rows * columns)

    def _initialize(self, channels: int) -> None:
        bound = math.sqrt(6 / (4 * channels))  # as nn.MultiheadAttention, whose three projections are one matrix
        for layer in (self.self_value, self.query, self.key_value):
            nn.init.uniform_(layer.weight, -bound, bound)
        for layer in (self.self_value, self.query, self.key_value, self.self_project, self.project):
            nn.init.zeros_(layer.bias)


class PositionEmbedding(nn.Module):
    """Linear, batch norm, ReLU, linear on positions in cells."""

    def __init__(self, channels: int):
        super().__init__()
        self.embed = nn.Linear(2, channels)
        self.norm = CountedBatchNorm(channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, positions: Tensor, counts: Tensor | None = None) -> Tensor:
        """positions [N, 2] float32, counts [N] how often each is in the batch (None: once) -> [N, C]."""
        with torch.autocast(positions.device.type, enabled=False):  # half precision does not tell the far cells apart
            dtype = torch.promote_types(self.embed.weight.dtype, torch.float32)
            embedded = F.linear(positions.to(dtype), self.embed.weight.to(dtype), self.embed.bias.to(dtype))
            hidden = self.norm(embedded, counts).relu()
        return self.project(hidden.to(self.project.weight.dtype))


class CountedBatchNorm(nn.Module):
    """Batch norm of rows that stand for several equal ones; as nn.BatchNorm1d on the repeated rows.

    Its statistics are of this process alone: positions are spread alike in all of them.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        """x [N, C], single or double precision, counts [N] (None: 1 each) -> [N, C]."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            share = torch.ones_like(x[:, :1]) if counts is None else counts[:, None].to(x.dtype)
            total = share.sum()
            mean = (x * share).sum(0) / total
            var = ((x - mean).square() * share).sum(0) / total
            self._track(mean.detach(), var.detach() * total / (total - 1).clamp(min=1))
        return (x - mean) * (var + self.eps).rsqrt() * self.weight + self.bias

    def _track(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


def _cell_centers(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Centres (x, y) of the cells, row by row: [ny * nx, 2] float32."""
    rows, columns = (torch.arange(size, device=device) + 0.5 for size in shape)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), -1)


def _split(x: Tensor, heads: int) -> Tensor:
    """[B, N, C] -> [B, heads, N, C / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
