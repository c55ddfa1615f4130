"""ArtEq as one writes it with PyTorch alone: all neighbours gathered, all kernel weights in memory, and einsum, as in the authors' code.

Its weights are those of an `ArtEq`. Features are [B, C, P, A] here, as theirs are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from geo3d.models.arteq import ArtEq, AttentionStack, BodyEstimate, SeparableBlock
from geo3d.models.arteq.encoder import InterConv
from geo3d.models.arteq.heads import SelfAttention
from geo3d.models.arteq.neighborhoods import NEAR_ORIGIN
from geo3d.models.arteq.network import EPS
from geo3d.tools.benchmarks.case import Mark


class PlainArtEq:
    """The peer of a network."""

    def __init__(self, network: ArtEq):
        self.network = network

    def __call__(self, points: Tensor, mark: Mark) -> BodyEstimate:
        """points [B, N, 3]; calls mark(name) at the end of each part."""
        network = self.network
        centers, features = points, points.new_ones((len(points), 1, points.shape[1], len(network.anchors)))
        if not network.encoder.as_released:
            centers = points = points - points.double().mean(1, keepdim=True).to(points.dtype)
            start = points.square().sum(-1).argmax(1)
            centers = rows_of(points, farthest_points(points, points.shape[1], start))
        blocks: list[Any] = [block for level in network.encoder.levels for block in level]  # type: ignore[attr-defined]
        for number, block in enumerate(blocks, 1):
            centers, features = separable(block, centers, features)
            mark(f"block {number}")
        features = interpolated(points, centers, features)  # [B, C, N, A]
        logits = network.segmenter(features.mean(-1).transpose(1, 2))
        mark("segmentation")
        parts = self._parts(features, logits.softmax(-1))
        betas = network.shape_head(attention(network.shape_attention, parts.mean(-1).transpose(1, 2)).flatten(1))
        tokens = parts.permute(0, 2, 3, 1).flatten(0, 1)  # [B parts, A, C]
        weights = network.anchor_head(network.pose_head(attention(network.pose_attention, tokens)))
        weights = weights.view(len(points), -1, len(network.anchors))
        rotations = nearest_rotations(torch.einsum("bpa,aij->bpij", weights, network.anchors.to(weights)))
        mark("pose and shape")
        return BodyEstimate(logits, rotations, betas, weights)

    def _parts(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Features [B, C, N, A], probabilities [B, N, parts] -> [B, C or 2 C, parts, A]."""
        shares = probabilities / probabilities.abs().sum(1, keepdim=True).clamp(min=1e-12)
        own = torch.einsum("bcna,bnp->bcpa", features, shares)
        if not self.network.kinematic_conditioning:
            return own
        return torch.cat([own[:, :, [max(parent, 0) for parent in self.network.parents]], own], 1)


def separable(block: SeparableBlock, points: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """points [B, N, 3], features [B, C, N, A] -> samples [B, M, 3], features [B, O, M, A]."""
    samples, centers, mixed = between_points(block.inter, points, features)
    mixed = normalized(mixed)
    neighbors = torch.tensor(block.intra.neighbors, device=points.device)  # [A, 12]
    mixed = normalized(torch.einsum("ock,bcmak->boma", block.intra.weight.transpose(1, 2), mixed[..., neighbors]))
    if block.skip is not None:
        own = torch.stack([entry[:, rows] for entry, rows in zip(features, samples, strict=True)])
        mixed = mixed + normalized(torch.einsum("oc,bcma->boma", block.skip.weight, own))
    return centers, mixed


def between_points(conv: InterConv, points: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """points [B, N, 3], features [B, C, N, A] -> samples [B, M], where they are [B, M, 3], features [B, O, M, A]."""
    settings, (batch, count) = conv.settings, points.shape[:2]
    kept = -(-count // settings.stride)
    samples = torch.arange(kept, device=points.device).expand(batch, -1)
    if conv.as_released and not settings.lazy and kept < count:
        is_near = points.square().sum(-1, keepdim=True) <= NEAR_ORIGIN
        samples = farthest_points(torch.where(is_near, points[:, :1], points), kept, samples[:, 0])
    centers = rows_of(points, samples)
    neighbors = in_ball(centers, points, settings.radius, settings.neighbors, conv.as_released)
    found = neighbors.clamp(min=0)
    offsets = rows_of(points, found.flatten(1)).view(*found.shape, 3) - centers[:, :, None]  # [B, M, n, 3]
    away = offsets[:, :, None, None] - conv.kernel_points[:, :, None].to(points)  # [B, M, A, K, n, 3]
    closeness = (1 - away.square().sum(-1) / settings.sigma).relu()
    closeness = closeness * (neighbors >= 0)[:, :, None, None]
    gathered = torch.stack([entry[:, rows] for entry, rows in zip(features, found, strict=True)])  # [B, C, M, n, A]
    summed = torch.einsum("bmakn,bcmna->bkcma", closeness, gathered)
    return samples, centers, torch.einsum("okc,bkcma->boma", conv.weight, summed)


def farthest_points(points: Tensor, count: int, start: Tensor) -> Tensor:
    """Rows [B, count] of points [B, N, 3], each the farthest from those before, one after the other."""
    chosen = [start]
    nearest = torch.full(points.shape[:2], torch.inf, dtype=points.dtype, device=points.device)
    for _ in range(count - 1):
        nearest = torch.minimum(nearest, (points - rows_of(points, chosen[-1][:, None])).square().sum(-1))
        chosen.append(nearest.argmax(1))
    return torch.stack(chosen, 1)


def in_ball(centers: Tensor, points: Tensor, radius: float, most: int, as_released: bool) -> Tensor:
    """The first `most` points within the radius: [B, M, most], -1 for none, or filled up as the released code does."""
    squared = (centers[:, :, None] - points[:, None]).square().sum(-1)  # [B, M, N]
    rows = torch.arange(points.shape[1], device=points.device).expand_as(squared)
    found = torch.where(squared < radius**2, rows, points.shape[1]).sort(-1).values[..., :most]
    found = F.pad(found, (0, most - found.shape[-1]), value=points.shape[1])
    is_found = found < points.shape[1]
    found = torch.where(is_found, found, -1)
    if not as_released:
        return found
    counts = is_found.sum(-1, keepdim=True)
    filled = found.gather(-1, torch.arange(most, device=points.device) % counts.clamp(min=1))
    filled[..., -1:] = torch.where(counts == most - 1, 0, filled[..., -1:])
    return filled


def interpolated(points: Tensor, centers: Tensor, features: Tensor) -> Tensor:
    """Features [B, C, S, A] of samples [B, S, 3] at points [B, N, 3]: [B, C, N, A]."""
    squared, rows = (points[:, :, None] - centers[:, None]).square().sum(-1).sort(-1)
    closeness = 1 / (squared[..., :3] + EPS)
    closeness = closeness / closeness.sum(-1, keepdim=True)
    nearest = torch.stack([entry[:, own] for entry, own in zip(features, rows[..., :3], strict=True)])  # [B, C, N, 3, A]
    return (nearest * closeness[:, None, ..., None]).sum(3)


def attention(stack: AttentionStack, tokens: Tensor) -> Tensor:
    """[S, T, C] -> [S, T, O]."""
    first, last = stack.layers
    return attend(last, tokens + attend(first, tokens))  # type: ignore[arg-type]


def attend(layer: SelfAttention, tokens: Tensor) -> Tensor:
    """[S, T, C] -> [S, T, O], with all weights [S, heads, T, T] in memory."""
    query, key, value = (
        each(tokens).unflatten(-1, (layer.heads, -1)).transpose(1, 2) for each in (layer.query, layer.key, layer.value)
    )
    weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
    return layer.combine((weights @ value).transpose(1, 2).flatten(2))


def nearest_rotations(matrices: Tensor) -> Tensor:
    """[..., 3, 3] projected to rotations by the singular value decomposition."""
    left, _, right = torch.linalg.svd(matrices)
    sign = torch.ones_like(matrices[..., 0])
    sign[..., 2] = torch.linalg.det(left @ right)
    return left * sign[..., None, :] @ right


def normalized(features: Tensor) -> Tensor:
    """Instance normalisation of [B, C, P, A] and leaky ReLU."""
    return F.leaky_relu(F.instance_norm(features))


def rows_of(points: Tensor, rows: Tensor) -> Tensor:
    """points [B, N, 3], rows [B, M] -> [B, M, 3]."""
    return points.gather(1, rows[..., None].expand(-1, -1, 3))
