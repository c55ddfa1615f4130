"""Convolution over the rotations of a group, and the normalisation of what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-5
SLOPE = 0.01  # of the leaky ReLU


Table = Sequence[Sequence[int]]


def group_conv(features: Tensor, neighbors: Table, weight: Tensor) -> Tensor:
    """out[:, a] = sum over k of weight[:, k] @ features[:, neighbors[a, k]], one anchor at a time, so that nothing large is gathered.

    Args:
        features: [B, A, P, C].
        neighbors: A rows of K numbers, each column a permutation of the anchors; numbers and no tensor, which the host would wait for.
        weight: [O, K, C].

    Returns:
        [B, A, P, O]. Differentiable once in features and weight.
    """
    return _GroupConv.apply(features, neighbors, weight)


def _gathered(features: Tensor, neighbors: Table) -> Iterator[Tensor]:
    """[B P, K C] of each anchor."""
    for row in neighbors:
        yield torch.cat([features[:, anchor] for anchor in row], -1).flatten(0, 1)


def _convolve(features: Tensor, neighbors: Table, weight: Tensor) -> Tensor:
    batch, anchors, count, _ = features.shape
    mixed = features.new_empty((batch, anchors, count, len(weight)))
    mixing = weight.flatten(1).T
    for anchor, block in enumerate(_gathered(features, neighbors)):
        mixed[:, anchor] = (block @ mixing).view(batch, count, -1)
    return mixed


class _GroupConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, neighbors: Table, weight: Tensor) -> Tensor:
        ctx.neighbors = neighbors
        ctx.save_for_backward(features, weight)
        return _convolve(features, neighbors, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
        (features, weight), neighbors = ctx.saved_tensors, ctx.neighbors
        # anchor b is the k-th neighbour of anchor back[b][k], so the gradient is a convolution again
        columns = [{b: a for a, b in enumerate(column)} for column in zip(*neighbors, strict=True)]
        back = [[column[b] for column in columns] for b in range(len(neighbors))]
        of_features = _convolve(grad, back, weight.permute(2, 1, 0).contiguous())
        of_weight = torch.zeros_like(weight).flatten(1)
        for anchor, block in enumerate(_gathered(features, neighbors)):
            of_weight.addmm_(grad[:, anchor].flatten(0, 1).T, block)
        return of_features, None, of_weight.view_as(weight)


def normalized_leaky_relu(features: Tensor) -> Tensor:
    """Instance normalisation of each channel of [B, A, P, C] over anchors and points, then a leaky ReLU.

    The input alone is kept for the backward pass.
    """
    return _NormalizedLeakyReLU.apply(features)


class _NormalizedLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        variance, mean = _moments(features)
        scale = (variance + EPS).rsqrt()
        ctx.save_for_backward(features, mean, scale)
        return torch.nn.functional.leaky_relu_((features - mean).mul_(scale), SLOPE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        features, mean, scale = ctx.saved_tensors
        normal = (features - mean).mul_(scale)
        grad = torch.ops.aten.leaky_relu_backward(grad, normal, SLOPE, False)
        along = (grad * normal).mean((1, 2), keepdim=True)
        return (grad - grad.mean((1, 2), keepdim=True) - normal.mul_(along)).mul_(scale)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean of each channel of [B, A, P, C]: [B, 1, 1, C]."""
    if features.device.type != "cpu" or features.dtype in (torch.float16, torch.bfloat16):
        variance, mean = torch.var_mean(features, (1, 2), correction=0, keepdim=True)
        return variance, mean
    # with channels last, PyTorch's var_mean on a CPU takes ten times as long as the two sums
    mean = features.mean((1, 2), keepdim=True)
    return (features - mean).square_().mean((1, 2), keepdim=True), mean
