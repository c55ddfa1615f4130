"""Workloads of set attention, with the projections that go with it, at the size of DSVT's pillar model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geo3d import ops
from geo3d.tools.benchmarks.clouds import RANGE, sweep
from geo3d.tools.benchmarks.workloads import Workload, Workloads, backward

OPS = ("set_attention",)
CHANNELS, HEADS, SET_SIZE = 192, 8, 36


def workloads(device: torch.device) -> Workloads:
    """One attention layer, forward, and forward with backward."""
    size = (0.32, 0.32, 0.1875)
    shape = ops.grid_shape(size, RANGE)
    coords = ops.voxelize(sweep(180_000)[:, :3].to(device), size, RANGE).coords
    windows, inner = ops.window_partition(coords, shape, (12, 12, 32))
    sets, padding = (part[0] for part in ops.set_partition(windows, inner, (12, 12, 32), SET_SIZE))
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True).to(device)
    features = torch.randn(len(coords), CHANNELS, device=device).requires_grad_()
    position = torch.randn(len(coords), CHANNELS, device=device)
    inputs = [features, *layer.parameters()]
    grad = torch.rand_like(features)
    title = f"set_attention with projections, {len(coords):,} voxels, {len(sets):,} sets of {SET_SIZE}, C = {CHANNELS}, {HEADS} heads"
    same = {"ours": Tensor.detach, "gather, nn.MultiheadAttention, scatter": Tensor.detach}
    projections = 2 * len(coords) * CHANNELS * CHANNELS * 4
    mixing = 4 * len(sets) * SET_SIZE * SET_SIZE * CHANNELS

    def ours() -> Tensor:
        return _fused(layer, features, position, sets, padding)

    def theirs() -> Tensor:
        return _recipe(layer, features, position, sets, padding)

    peer = "gather, nn.MultiheadAttention, scatter"
    moved = 4 * 3 * features.numel()
    no_grad = torch.no_grad()
    yield Workload("set_attention", title, no_grad(ours), {peer: no_grad(theirs)}, moved, projections + mixing, same)
    yield Workload(
        "set_attention",
        f"{title}, forward + backward",
        backward(ours, inputs, grad),
        {peer: backward(theirs, inputs, grad)},
        3 * moved,
        3 * (projections + mixing),
    )


def _fused(layer: nn.MultiheadAttention, features: Tensor, position: Tensor, sets: Tensor, padding: Tensor) -> Tensor:
    weight, bias = layer.in_proj_weight, layer.in_proj_bias
    query, key = F.linear(features + position, weight[: 2 * CHANNELS], bias[: 2 * CHANNELS]).chunk(2, dim=1)
    value = F.linear(features, weight[2 * CHANNELS :], bias[2 * CHANNELS :])
    return layer.out_proj(ops.set_attention(query, key, value, sets, padding, HEADS))


def _recipe(layer: nn.MultiheadAttention, features: Tensor, position: Tensor, sets: Tensor, padding: Tensor) -> Tensor:
    value = features[sets]
    query = value + position[sets]
    mixed = layer(query, query, value, key_padding_mask=padding, need_weights=False)[0]
    return features.new_zeros(features.shape).index_put((sets[~padding],), mixed[~padding])
