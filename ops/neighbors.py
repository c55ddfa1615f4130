"""Neighbours of points."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geo3d.ops.batching import Rows, check_finite, rows_of
from geo3d.ops.grouping import gather


class Neighbors(NamedTuple):
    """Neighbours of each query.

    Attributes:
        indices: [B, M, k] int64 indices within each cloud (dense), or [Q, k] rows (packed); -1 where there is none.
        squared_distances: the same shape, floating point; infinite where there is none. Differentiable in both point sets.
    """

    indices: Tensor
    squared_distances: Tensor


def knn(
    query: Tensor,
    points: Tensor,
    k: int,
    *,
    query_lengths: Tensor | None = None,
    lengths: Tensor | None = None,
    query_batch: Tensor | None = None,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
    order: Literal["distance", "cuda_topk"] = "distance",
) -> Neighbors:
    """The k nearest points of each query point, the point itself included where it is a member.

    Distances are taken from coordinate differences, so copies of a point are exactly equally far.

    Args:
        query: [B, M, 3] dense, or [Q, 3] packed; float16, bfloat16 (computed in float32), float32 or float64.
        points: [B, N, 3] or [R, 3], like `query`.
        k: number of neighbours, at least 1.
        query_lengths, lengths: [B] valid queries and points of each cloud of a dense batch.
        query_batch, batch_index: [Q] and [R] sorted clouds of the rows of a packed batch; without them it is one cloud.
        batch_size: number of clouds of a packed batch, by default that of the larger batch index.
        order: "distance" lists neighbours by distance, equals by index. "cuda_topk" lists those strictly closer than the k-th by
            index, then those as far as the k-th by index: what torch.topk(sorted=False) leaves on CUDA, on which weights
            may depend that were trained with it. The set of neighbours is the same.

    Returns:
        `Neighbors`; a cloud with fewer than k points pads with index -1 and infinite distance, as do padded queries.

    Raises:
        ValueError: shapes, dtypes or ranges that do not fit, and on the CPU points that are not finite.
    """
    if query.ndim != points.ndim:
        raise ValueError(
            f"knn: query and points must both be dense or both packed, got {list(query.shape)} and {list(points.shape)}"
        )
    if query.dtype != points.dtype or query.device != points.device:
        raise ValueError(
            f"knn: query and points must share dtype and device, got {query.dtype} on {query.device} and {points.dtype} on {points.device}"
        )
    if k < 1:
        raise ValueError(f"knn: k must be at least 1, got {k}")
    if order not in ("distance", "cuda_topk"):
        raise ValueError(f"knn: order must be 'distance' or 'cuda_topk', got {order!r}")
    if batch_size is None and query_batch is not None and batch_index is not None:
        last = [int(index[-1]) + 1 for index in (query_batch, batch_index) if len(index)]
        batch_size = max(last, default=0)
    queries = rows_of("knn", "query", query, query_lengths, query_batch, batch_size)
    sources = rows_of("knn", "points", points, lengths, batch_index, batch_size)
    if len(queries.begin) != len(sources.begin):
        raise ValueError(f"knn: query and points must have as many clouds, got {len(queries.begin)} and {len(sources.begin)}")
    check_finite("knn", "query", queries)
    check_finite("knn", "points", sources)
    rows, distances = torch.ops.geo3d.knn(
        queries.rows.detach(), sources.rows.detach(), queries.begin, queries.end, sources.begin, sources.end, k
    )
    if order == "cuda_topk":
        rows, distances = _by_index(rows, distances)
    if torch.is_grad_enabled() and (query.requires_grad or points.requires_grad):
        distances = _differentiable_distances(queries, sources, rows)
    if query.ndim == 2:
        return Neighbors(rows, distances)
    shape = (*query.shape[:2], k)
    return Neighbors(torch.where(rows < 0, rows, rows - _first_row(queries, sources)).view(shape), distances.view(shape))


def _first_row(queries: Rows, sources: Rows) -> Tensor:
    """[Q, 1] first row, among the points, of the cloud of each query row of a dense batch."""
    return sources.begin.repeat_interleave(len(queries.rows) // max(len(queries.begin), 1), output_size=len(queries.rows))[
        :, None
    ]


def _by_index(rows: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
    """Sort neighbours closer than the last by row, then those as far as the last by row."""
    valid = rows >= 0
    last = torch.where(valid, distances, float("-inf")).amax(1, keepdim=True)
    key = torch.where(distances < last, rows, rows + (1 << 40))
    key = torch.where(valid, key, torch.iinfo(torch.int64).max)
    order = key.sort(dim=1, stable=True).indices
    return rows.gather(1, order), distances.gather(1, order)


def _differentiable_distances(queries: Rows, sources: Rows, rows: Tensor) -> Tensor:
    difference = queries.rows[:, None] - gather(sources.rows, rows)
    return torch.where(rows < 0, float("inf"), difference.square().sum(-1))


@torch.library.custom_op("geo3d::knn", mutates_args=(), device_types="cpu")
def _knn(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import neighbors as cpu

    return cpu.knn(query, points, query_begin, query_end, begin, end, k)


@_knn.register_kernel("cuda")
def _(query, points, query_begin, query_end, begin, end, k):
    from geo3d.ops.cuda import neighbors as cuda

    return cuda.knn(query, points, query_begin, query_end, begin, end, k)


@_knn.register_fake
def _(query, points, query_begin, query_end, begin, end, k):
    return begin.new_empty((query.shape[0], k)), query.new_empty((query.shape[0], k))
