"""LRGT as one writes it with PyTorch alone: attention by its matrices, and the merger by the whole distance matrix and masks of its size.

Its weights are those of an `LRGT`, and what is neither attention nor merger is the same layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geo3d.models.lrgt import LRGT, LongRangeGroupingAttention
from geo3d.models.lrgt.attention import Attention, Block
from geo3d.models.lrgt.decoder import GridStage, QueryBlock, VoxelDecoder
from geo3d.models.lrgt.encoder import ViewEncoder
from geo3d.models.lrgt.merger import SHARE_EPSILON, MergerBlock
from geo3d.tools.benchmarks.case import Mark


class PlainLRGT:
    """The peer of a network.

    Args:
        network: whose layers it takes.
        exact: distances in float64, to check that it is the same network; single precision puts near ties into other clusters.
    """

    def __init__(self, network: LRGT, exact: bool = False):
        self.network, self.exact = network, exact

    def __call__(self, images: Tensor, mark: Mark) -> Tensor:
        """Probabilities [B, D, H, W]; calls mark(name) at the end of each part."""
        tokens = encode(self.network.encoder, images)
        mark("encoder")
        x = tokens.flatten(1, 2)
        for block in self.network.merger.blocks:
            x = merge(block, x, self.exact)  # type: ignore[arg-type]
        mark("merger")
        logits = decode(self.network.decoder, x).permute(0, 3, 2, 1)
        mark("decoder")
        return logits.sigmoid()


def attend(layer: Attention, x: Tensor, context: Tensor | None = None, key_bias: Tensor | None = None) -> Tensor:
    """x [B, N, C], context [B, M, C], key_bias [B, M] -> [B, N, C], with all weights [B, heads, N, M] in memory."""
    context = x if context is None else context
    query, key, value = (_heads(layer, y) for y in (layer.query(x), layer.key(context), layer.value(context)))
    return layer.project(_mixed(query, key, value, key_bias).transpose(1, 2).reshape(x.shape))


def attend_in_groups(layer: LongRangeGroupingAttention, x: Tensor, views: int) -> Tensor:
    """x [B V, N, C] tokens of so many views -> [B V, N, C], attention among the groups of all views."""
    rows, tokens, channels = x.shape
    side = round(tokens**0.5)
    steps, groups, batch = side // layer.groups, layer.groups, rows // views

    def grouped(y: Tensor) -> Tensor:
        y = y.reshape(batch, views, steps, groups, steps, groups, channels).permute(0, 3, 5, 1, 2, 4, 6)
        return _heads(layer, y.reshape(batch * groups * groups, views * steps * steps, channels))

    value = layer.value(x)
    mixed = _mixed(grouped(layer.query(x)), grouped(layer.key(x)), grouped(value)).transpose(1, 2)
    mixed = mixed.reshape(batch, groups, groups, views, steps, steps, channels).permute(0, 3, 4, 1, 5, 2, 6).reshape(x.shape)
    planes = value.transpose(1, 2).reshape(rows, channels, side, side)
    return layer.project(mixed + layer.signature(planes).flatten(2).transpose(1, 2))


def encode(encoder: ViewEncoder, images: Tensor) -> Tensor:
    """images [B, V, 3, S, S] -> tokens [B, V, N, C]."""
    batch, views = images.shape[:2]
    x = encoder.patches(images.flatten(0, 1)).flatten(2).transpose(1, 2) + encoder.position
    for i, block in enumerate(encoder.blocks):
        attention: Any = block.attention
        normed = block.attention_norm(x)  # type: ignore[operator]
        x = x + (attend_in_groups(attention, normed, views) if i in encoder.grouping_blocks else attend(attention, normed))
        x = x + block.mlp(block.mlp_norm(x))  # type: ignore[operator]
    return encoder.norm(x).unflatten(0, (batch, views))


def merge(block: MergerBlock, x: Tensor, exact: bool = False) -> Tensor:
    """x [B, N, C] -> [B, M, C] merged tokens; as many clusters as tokens are clustered all the same."""
    x = block.norm(x)
    score = block.score(x)[..., 0]
    members = cluster(x.double() if exact else x, block.count, block.neighbors)
    weight = score.exp()
    total = torch.zeros_like(weight[:, : block.count]).scatter_add_(1, members, weight) + SHARE_EPSILON
    share = weight / total.gather(1, members)
    index = members[..., None].expand_as(x)
    merged = torch.zeros_like(x[:, : block.count]).scatter_add_(1, index, x * share[..., None])
    merged = merged + attend(block.attention, merged, x, score)
    return merged + block.mlp(block.mlp_norm(merged))


def cluster(x: Tensor, count: int, neighbors: int) -> Tensor:
    """Which of `count` clusters each token [B, N, C] belongs to, [B, N]; of equal densities neither is denser."""
    batch, _, channels = x.shape
    distance = torch.cdist(x, x) / channels**0.5
    density = distance.topk(neighbors, largest=False).values.square().mean(-1).neg().exp()
    is_denser = (density[:, None] > density[..., None]).to(x.dtype)
    largest = distance.flatten(1).amax(1)[:, None, None]
    separation = (distance * is_denser + largest * (1 - is_denser)).amin(-1)
    centers = (density * separation).topk(count).indices
    members = distance.gather(1, centers[..., None].expand(-1, -1, x.shape[1])).argmin(1)
    return members.scatter(1, centers, torch.arange(count, device=x.device).expand(batch, -1))


def decode(decoder: VoxelDecoder, context: Tensor) -> Tensor:
    """context [B, M, C] -> grid [B, X, Y, Z] before the sigmoid."""
    x = decoder.queries.weight.expand(len(context), -1, -1)
    for block in decoder.query_blocks:
        x = _read(block, x, context)  # type: ignore[arg-type]
    side = decoder.query_side
    grid = _stage(decoder.stages[0], decoder.norm(x).transpose(1, 2).unflatten(2, (side, side, side)))  # type: ignore[arg-type]
    for upsampling, stage in zip(decoder.upsamplings, list(decoder.stages)[1:], strict=True):
        grid = _stage(stage, upsampling(grid))  # type: ignore[arg-type]
    return decoder.classify(grid)[:, 0]


def _read(block: QueryBlock, x: Tensor, context: Tensor) -> Tensor:
    x = x + attend(block.self_attention, block.self_norm(x))
    x = x + attend(block.cross_attention, block.cross_norm(x), context)
    return x + block.mlp(block.mlp_norm(x))


def _stage(stage: GridStage, grid: Tensor) -> Tensor:
    tokens = stage.tokens(grid)
    for block in stage.blocks:
        tokens = _block(block, tokens)  # type: ignore[arg-type]
    return stage.grid(tokens, grid)


def _block(block: Block, x: Tensor) -> Tensor:
    x = x + attend(block.attention, block.attention_norm(x))  # type: ignore[arg-type]
    return x + block.mlp(block.mlp_norm(x))


def _heads(layer: Attention, x: Tensor) -> Tensor:
    """[B, N, C] -> [B, heads, N, C / heads]."""
    return x.reshape(*x.shape[:2], layer.heads, -1).transpose(1, 2)


def _mixed(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None = None) -> Tensor:
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if key_bias is not None:
        scores = scores + key_bias[:, None, None]
    return scores.softmax(-1) @ value
