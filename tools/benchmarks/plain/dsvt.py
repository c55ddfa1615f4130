"""DSVT as one writes it with PyTorch alone: unique, scatter_reduce, index arithmetic, gather, nn.MultiheadAttention, scatter.

Its weights are those of a `DSVTDetector`, its dense part the same layers one after the other; head's proposals and decoder are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from geo3d.models.detection import BevBackbone, CenterHead, CenterOutputs
from geo3d.models.detection.bev import ResidualBlock
from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.blocks import Block, SetLayer
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.models.dsvt.encoder import PointEncoder
from geo3d.models.dsvt.pooling import AttentionPooling, LinearPooling
from geo3d.models.dsvt.sets import Window
from geo3d.tools.benchmarks.case import Mark

Sets = tuple[Tensor, Tensor]  # rows [2, S, T], padding [2, S, T]


class PlainDSVT(nn.Module):
    """The peer of a detector, up to the map that its head takes."""

    def __init__(self, network: DSVTDetector):
        super().__init__()
        self.network = network
        attentions = [m for m in network.backbone.modules() if hasattr(m, "in_projection")]
        self.attentions = nn.ModuleList(_multihead(module) for module in attentions)
        self.of_module = {id(module): plain for module, plain in zip(attentions, self.attentions, strict=True)}

    def forward(self, points: Tensor, batch_index: Tensor, batch_size: int, mark: Mark) -> Tensor:
        """Map of the 2D backbone; calls mark(name) at the end of each part."""
        features, coords = encode(self.network.encoder, points, batch_index)
        mark("point encoder")
        for stage in cast("list[Stage]", self.network.backbone.stages):
            if stage.pool is not None:
                features, coords = self._pooled(stage, features, coords)
                mark("pooling")
            windows = [window_places(coords, stage.grid, window) for window in stage.windows]
            sets = {k: share_out(*windows[k], stage.windows[k].shape, stage.set_size) for k in stage.partitions}
            mark("windows and sets")
            for block in cast("list[Block]", stage.blocks):
                features = self._block(block, features, [places for _, places in windows], sets[block.partition])
            mark("attention blocks")
        columns, rows, _ = self.network.backbone.out_grid
        batch, _, y, x = coords.unbind(1)
        canvas = features.new_zeros(batch_size, features.shape[1], rows * columns)
        canvas[batch, :, y * columns + x] = features
        bev = dense_map(self.network.bev, canvas.view(batch_size, -1, rows, columns))
        mark("2D backbone")
        return bev

    def _block(self, block: Block, features: Tensor, places: list[Tensor], sets: Sets) -> Tensor:
        x = features
        for i, (layer, embedding) in enumerate(zip(block.layers, block.positions, strict=True)):
            own: Any = embedding
            position = own.layers(own.relative(places[block.embedded[i]]))
            x = self._layer(cast(SetLayer, layer), x, position, sets[0][i], sets[1][i])
        return block.norm(x + features)

    def _layer(self, layer: SetLayer, features: Tensor, position: Tensor, rows: Tensor, padding: Tensor) -> Tensor:
        value = features[rows]  # [S, T, C]
        query = value + position[rows]
        mixed = self.of_module[id(layer.attention)](query, query, value, key_padding_mask=padding, need_weights=False)[0]
        update = mixed.new_zeros(features.shape)
        update[rows] = mixed  # slots of the same row hold the same
        x = layer.attention_norm(features + update)
        x = layer.feedforward_norm(x + layer.narrow(layer.activation(layer.widen(x))))
        return layer.norm(x + features)

    def _pooled(self, stage: Stage, features: Tensor, coords: Tensor) -> tuple[Tensor, Tensor]:
        (sx, sy, sz), (nx, ny, nz) = stage.stride, stage.grid
        batch, z, y, x = coords.unbind(1)
        keys, cell = (((batch * nx + x // sx) * ny + y // sy) * nz + z // sz).unique(return_inverse=True)
        slot = ((x % sx) * sy + y % sy) * sz + z % sz
        slots = features.new_zeros(len(keys), sx * sy * sz, features.shape[1])
        slots[cell, slot] = features
        pooled = torch.stack((keys // (nx * ny * nz), keys % nz, keys // nz % ny, keys // (ny * nz) % nx), 1)
        return self._mixed(stage.pool, slots), pooled

    def _mixed(self, pool: nn.Module | None, slots: Tensor) -> Tensor:
        """slots [M, K, C], zero where empty -> [M, C]."""
        if isinstance(pool, AttentionPooling):
            query = slots.amax(1, keepdim=True)
            mixed = self.of_module[id(pool)](query, slots + pool.position, slots, need_weights=False)[0]
            return pool.norm(mixed + query)[:, 0]
        return pool.norm(pool.linear(slots.flatten(1))) if isinstance(pool, LinearPooling) else slots.amax(1)


def encode(encoder: PointEncoder, points: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
    """Features [V, C] and coords [V, 4] int64 of the voxels, by (batch, x, y, z)."""
    low = points.new_tensor(encoder.point_range[:3])
    cells = ((points[:, :3] - low) / encoder.cell_size).floor().long()
    if encoder.any_height:
        cells[:, 2] = 0
    inside = ((cells >= 0) & (cells < cells.new_tensor(encoder.grid))).all(1)
    points, cells, batch = points[inside], cells[inside], batch_index[inside]
    nx, ny, nz = encoder.grid
    key = ((batch * nx + cells[:, 0]) * ny + cells[:, 1]) * nz + cells[:, 2]
    keys, voxel, counts = key.unique(return_inverse=True, return_counts=True)
    positions = points[:, :3]
    means = positions.new_zeros(len(keys), 3).index_add_(0, voxel, positions) / counts[:, None]
    centers = cells * encoder.cell_size + encoder.first_center
    described = torch.cat([points, positions - means[voxel], positions - centers], 1)
    first, second = (_point_layer(layer) for layer in encoder.layers)
    own = first(described)
    own = second(torch.cat([own, _largest(own, voxel, len(keys))[voxel]], 1))
    coords = torch.stack((keys // (nx * ny * nz), keys % nz, keys // nz % ny, keys // (ny * nz) % nx), 1)
    return _largest(own, voxel, len(keys)), coords


def dense_map(bev: BevBackbone, x: Tensor) -> Tensor:
    """Map of the 2D backbone, layer by layer."""
    branches = []
    for level, up in zip(bev.levels, bev.up_branches, strict=True):
        x = layer_by_layer(level, x)
        branches.append(layer_by_layer(up, x))
    return torch.cat(branches, 1)


def head_outputs(head: nn.Module, bev: Tensor) -> Any:
    """The head's outputs; those of CenterHead as whole maps, layer by layer."""
    if not isinstance(head, CenterHead):
        return head(bev)
    shared = layer_by_layer(head.shared, bev)
    return CenterOutputs(**{name: layer_by_layer(branch, shared) for name, branch in head.branches.items()})


def layer_by_layer(module: Any, x: Tensor) -> Tensor:
    """The module without any layers joined."""
    if isinstance(module, nn.Sequential):
        for child in module:
            x = layer_by_layer(child, x)
        return x
    if isinstance(module, ResidualBlock):
        update = module.norm1(module.conv1(x)).relu()
        return (module.norm2(module.conv2(update)) + layer_by_layer(module.shortcut, x)).relu()
    return module(x)


def window_places(coords: Tensor, grid: Sequence[int], window: Window) -> tuple[Tensor, Tensor]:
    """Window number [V] of each voxel and its place (z, y, x) in it [V, 3]."""
    width, depth, height = window.shape
    batch, z, y, x = coords.unbind(1)
    x, y = x + window.shift[0], y + window.shift[1]
    z = z if grid[2] == height else z + window.shift[2]
    across = [math.ceil(size / step) + 1 for size, step in zip(grid, window.shape, strict=True)]
    number = ((batch * across[0] + x // width) * across[1] + y // depth) * across[2] + z // height
    return number, torch.stack((z % height, y % depth, x % width), 1)


def share_out(number: Tensor, places: Tensor, shape: Sequence[int], set_size: int) -> Sets:
    """Sets of the voxels of each window, sorted by y and by x, and which slots repeat: sections 3.1 and 3.2 of the paper."""
    width, depth, height = shape
    _, window, counts = number.unique(return_inverse=True, return_counts=True)
    sets_of = -(-counts // set_size)
    slots_of = sets_of * set_size
    slot_window = torch.arange(len(counts), device=number.device).repeat_interleave(slots_of)
    place = torch.arange(len(slot_window), device=number.device) - (slots_of.cumsum(0) - slots_of)[slot_window]
    rank = (place * counts[slot_window] / slots_of[slot_window].double()).floor().long()
    first = counts.cumsum(0) - counts
    z, y, x = places.unbind(1)
    sets = []
    for key in ((y * width + x) * height + z, (x * depth + y) * height + z):
        order = torch.argsort(window * (width * depth * height) + key)
        sets.append(order[first[slot_window] + rank].view(-1, set_size))
    rows = torch.stack(sets)
    padding = torch.zeros_like(rows, dtype=torch.bool)
    padding[:, :, 1:] = rows[:, :, 1:] == rows[:, :, :-1]
    return rows, padding


def _multihead(module: Any) -> nn.MultiheadAttention:
    channels = module.out_projection.in_features
    layer = nn.MultiheadAttention(channels, module.heads, batch_first=True)
    layer.in_proj_weight.data, layer.in_proj_bias.data = module.in_projection.weight.data, module.in_projection.bias.data
    layer.out_proj.weight.data, layer.out_proj.bias.data = module.out_projection.weight.data, module.out_projection.bias.data
    return layer.eval()


def _point_layer(layer: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: layer.norm(layer.linear(x)).relu()


def _largest(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Maximum of the rows of each index: [rows, C]."""
    index = index[:, None].expand_as(values)
    return values.new_zeros(rows, values.shape[1]).scatter_reduce_(0, index, values, "amax", include_self=False)
