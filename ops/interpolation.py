"""Interpolation of the features of points."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.neighbors import Neighbors, knn


def three_interpolate(
    features: Tensor,
    query: Tensor,
    points: Tensor,
    *,
    query_lengths: Tensor | None = None,
    lengths: Tensor | None = None,
    query_batch: Tensor | None = None,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Features at query points: the mean over the three nearest points, weighted by the inverse of their squared distance.

    Qi et al., "PointNet++", NeurIPS 2017, eq. 2 with k = 3 and p = 2.

    Args:
        features: [B, M, C] of a dense batch, or [R, C] packed; floating point, any precision whatever that of the points.
        query: [B, N, 3] dense, or [Q, 3] packed.
        points: [B, M, 3] or [R, 3], like `query`; where the features are.
        query_lengths, lengths, query_batch, batch_index, batch_size: as in `knn`.

    Returns:
        [B, N, C] or [Q, C], dtype of `features`; zeros for padded queries and in a cloud without points; with fewer than three
        points the mean of those there are. Differentiable in `features`, twice; the same on every run. Points and query get no gradient.

    Raises:
        ValueError: as `knn`, and features that do not fit the points.

    Example:
        >>> query, points = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [1.0, 1, 0]])
        >>> three_interpolate(torch.tensor([[0.0], [3.0], [6.0]]), query, points)
        tensor([[3.]])
    """
    if features.shape[:-1] != points.shape[:-1]:
        raise ValueError(
            f"three_interpolate: features must have a row for each point, got {list(features.shape)} for {list(points.shape)}"
        )
    neighbors = knn(
        query.detach(),
        points.detach(),
        3,
        query_lengths=query_lengths,
        lengths=lengths,
        query_batch=query_batch,
        batch_index=batch_index,
        batch_size=batch_size,
    )
    return interpolate(features, neighbors)


def interpolate(features: Tensor, neighbors: Neighbors, *, eps: float = 1e-8) -> Tensor:
    """Mean of the features of neighbours, weighted by 1 / (squared distance + eps); for a `knn` result used more than once.

    Args:
        features: [B, M, C] dense, or [R, C] packed, floating point.
        neighbors: of `knn`, indices [B, N, k] or [Q, k].
        eps: in squared units of the points; keeps a neighbour at distance zero finite, where it takes nearly all the weight.

    Returns:
        [B, N, C] or [Q, C], dtype of `features`; zeros where there is no neighbour. Differentiable in `features`, twice, not in
        the distances. The gradient adds up in a fixed order on every device.

    Raises:
        ValueError: shapes or dtypes that do not fit, and on the CPU an index outside [-1, M).

    Example:
        >>> points = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]])
        >>> interpolate(torch.tensor([[0.0], [4.0]]), knn(torch.tensor([[0.5, 0, 0]]), points, 2))
        tensor([[2.]])
    """
    indices = neighbors.indices
    fits = features.ndim in (2, 3) and indices.ndim == features.ndim and (features.ndim == 2 or len(indices) == len(features))
    if not fits or not features.is_floating_point():
        raise ValueError(
            "interpolate: features must be floating point [B, M, C] with indices [B, N, k], or [R, C] with [Q, k], "
            f"got {features.dtype} {list(features.shape)} and {list(indices.shape)}"
        )
    if indices.device.type == "cpu" and not torch.compiler.is_compiling() and indices.numel():
        low, high = (int(bound) for bound in torch.aminmax(indices))
        if low < -1 or high >= features.shape[-2]:
            raise ValueError(f"interpolate: indices must be in [-1, {features.shape[-2]}), got {low} to {high}")
    weights = (neighbors.squared_distances.detach() + eps).reciprocal()
    weights = torch.where(indices < 0, 0, weights)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    if features.ndim == 3:
        offset = (torch.arange(len(features), device=indices.device) * features.shape[1]).view(-1, 1, 1)
        indices = torch.where(indices < 0, indices, indices + offset)
    k = indices.shape[-1]
    mixed = torch.ops.geo3d.weighted_rows(
        features.reshape(-1, features.shape[-1]).contiguous(),
        indices.reshape(-1, k).to(torch.int64),
        weights.reshape(-1, k).contiguous(),
    )
    return mixed.view(*indices.shape[:-1], features.shape[-1])


@torch.library.custom_op("geo3d::weighted_rows", mutates_args=(), device_types="cpu")
def _weighted_rows(values: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    from geo3d.ops.cpu import interpolation as cpu

    return cpu.weighted_rows(values, rows, weights)


@_weighted_rows.register_kernel("cuda")
def _(values, rows, weights):
    from geo3d.ops.cuda import interpolation as cuda

    return cuda.weighted_rows(values, rows, weights)


@_weighted_rows.register_fake
def _(values, rows, weights):
    return values.new_empty((rows.shape[0], values.shape[1]))


@torch.library.custom_op("geo3d::add_weighted_rows", mutates_args=(), device_types="cpu")
def _add_weighted_rows(values: Tensor, rows: Tensor, weights: Tensor, count: int) -> Tensor:
    """The transpose of weighted_rows: values [Q, C] go, weighted, into `count` rows."""
    from geo3d.ops.cpu import interpolation as cpu

    return cpu.add_weighted_rows(values, rows, weights, count)


@_add_weighted_rows.register_kernel("cuda")
def _(values, rows, weights, count):
    from geo3d.ops.cuda import interpolation as cuda

    return cuda.add_weighted_rows(values, rows, weights, count)


@_add_weighted_rows.register_fake
def _(values, rows, weights, count):
    return values.new_empty((count, values.shape[1]))


def _save_weighted(ctx, inputs, output):
    values, rows, weights = inputs
    ctx.save_for_backward(rows, weights)
    ctx.count = values.shape[0]


def _weighted_backward(ctx, grad):
    rows, weights = ctx.saved_tensors
    return torch.ops.geo3d.add_weighted_rows(grad.contiguous(), rows, weights, ctx.count), None, None


def _save_added(ctx, inputs, output):
    ctx.save_for_backward(inputs[1], inputs[2])


def _added_backward(ctx, grad):
    rows, weights = ctx.saved_tensors
    return torch.ops.geo3d.weighted_rows(grad.contiguous(), rows, weights), None, None, None


_weighted_rows.register_autograd(_weighted_backward, setup_context=_save_weighted)
_add_weighted_rows.register_autograd(_added_backward, setup_context=_save_added)
