"""Workloads of convolution by rotated kernel points, at the size of a layer of ArtEq."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from geo3d import ops
from geo3d.ops.reference import kernel_point_conv as reference
from geo3d.tools.benchmarks.workloads import Workload, Workloads, backward

OPS = ("kernel_point_conv",)
ANCHORS, KERNEL, POINTS, NEIGHBORS, CHANNELS = 60, 24, 1250, 32, 64
RADIUS, SIGMA = 0.16, 0.0128  # metres, square metres
TOGETHER = 4  # anchors that the recipe takes at once, so that its intermediates fit a laptop


def workloads(device: torch.device) -> Workloads:
    """The last layer of the published encoder, forward, and forward with backward."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(1, POINTS, 3, generator=generator)
    points = (0.35 * directions / directions.norm(dim=-1, keepdim=True)).to(device)
    indices = ops.ball_query(points, points, RADIUS, NEIGHBORS).indices
    kernel = torch.randn(ANCHORS, KERNEL, 3, generator=generator)
    kernel = (0.7 * RADIUS * kernel / kernel.norm(dim=-1, keepdim=True)).to(device)
    features = torch.randn(1, ANCHORS, POINTS, CHANNELS, generator=generator).to(device).requires_grad_()
    weight = torch.randn(CHANNELS, KERNEL, CHANNELS, generator=generator).to(device).requires_grad_()
    grad = torch.rand(1, ANCHORS, POINTS, CHANNELS, generator=generator).to(device)

    def ours() -> Tensor:
        return ops.kernel_point_conv(features, points, points, indices, kernel, SIGMA, weight)

    def theirs() -> Tensor:
        return _recipe(features, points, indices, kernel, weight)

    rows = ANCHORS * POINTS
    operations = 2 * rows * KERNEL * CHANNELS * (NEIGHBORS + CHANNELS) + 9 * rows * KERNEL * NEIGHBORS
    moved = 8 * features.numel()
    peer, title = "gather and matmul in PyTorch", f"kernel_point_conv, {POINTS:,} points, {ANCHORS} anchors, C = {CHANNELS}"
    no_grad, inputs = torch.no_grad(), [features, weight]
    same = {"ours": Tensor.detach, peer: Tensor.detach}
    yield Workload("kernel_point_conv", title, no_grad(ours), {peer: no_grad(theirs)}, moved, operations, same)
    yield Workload(
        "kernel_point_conv",
        f"{title}, forward + backward",
        backward(ours, inputs, grad),
        {peer: backward(theirs, inputs, grad)},
        3 * moved,
        3 * operations,
    )


def _recipe(features: Tensor, points: Tensor, indices: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
    """A few anchors after the other, recomputed in the backward pass."""
    parts = []
    for first in range(0, ANCHORS, TOGETHER):
        chosen = slice(first, first + TOGETHER)
        arguments = (features[:, chosen], points, points, indices, kernel[chosen], SIGMA, weight)
        parts.append(checkpoint(reference.kernel_point_conv, *arguments, use_reentrant=False))
    return torch.cat(parts, 1)
