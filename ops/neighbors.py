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


class BallNeighbors(NamedTuple):
    """Neighbours of each query in a ball.

    Attributes:
        indices: [B, M, k] int64 indices within each cloud (dense), or [Q, k] rows (packed), ascending, then the padding.
        counts: [B, M] or [Q] int64, how many were found, at most k.
    """

    indices: Tensor
    counts: Tensor


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

    Example:
        >>> points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [3.0, 0, 0]])
        >>> knn(points, points, 2).indices
        tensor([[0, 1],
                [1, 0],
                [2, 1]])
    """
    queries, sources = _paired_rows("knn", query, points, query_lengths, lengths, query_batch, batch_index, batch_size)
    if k < 1:
        raise ValueError(f"knn: k must be at least 1, got {k}")
    if order not in ("distance", "cuda_topk"):
        raise ValueError(f"knn: order must be 'distance' or 'cuda_topk', got {order!r}")
    rows, distances = torch.ops.geo3d.knn(
        queries.rows.detach(), sources.rows.detach(), queries.begin, queries.end, sources.begin, sources.end, k
    )
    if order == "cuda_topk":
        rows, distances = _by_index(rows, distances)
    if torch.is_grad_enabled() and (query.requires_grad or points.requires_grad):
        distances = _differentiable_distances(queries, sources, rows)
    if query.ndim == 2:
        return Neighbors(rows, distances)
    return Neighbors(_within_clouds(rows, query, queries, sources), distances.view(*query.shape[:2], k))


def ball_query(
    query: Tensor,
    points: Tensor,
    radius: float,
    max_neighbors: int,
    *,
    query_lengths: Tensor | None = None,
    lengths: Tensor | None = None,
    query_batch: Tensor | None = None,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
    padding: Literal["first", "none"] = "first",
) -> BallNeighbors:
    """The first points, by index, that are closer to each query than a radius.

    Qi et al., "PointNet++", NeurIPS 2017, sec. 3.2; with more than `max_neighbors` points in a ball the lowest indices are kept.

    Args:
        query, points, query_lengths, lengths, query_batch, batch_index, batch_size: as in `knn`.
        radius: in the unit of the points, at least 0; a point is inside if its squared distance is less than the square of the
            radius, both in the precision of the points (float32 for half precision).
        max_neighbors: k, at least 1.
        padding: what follows the neighbours found: the "first" of them repeated, as in PointNet++, or "none", -1.

    Returns:
        `BallNeighbors`; an empty ball and a padded query have -1 throughout and count 0 (PointNet++ names point 0 there).
        Not differentiable.

    Raises:
        ValueError: shapes, dtypes or ranges that do not fit, and on the CPU points that are not finite.

    Example:
        >>> points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [3.0, 0, 0]])
        >>> ball_query(points, points, radius=1.0, max_neighbors=2).indices
        tensor([[0, 1],
                [0, 1],
                [2, 2]])
    """
    queries, sources = _paired_rows("ball_query", query, points, query_lengths, lengths, query_batch, batch_index, batch_size)
    if max_neighbors < 1:
        raise ValueError(f"ball_query: max_neighbors must be at least 1, got {max_neighbors}")
    if not radius >= 0:
        raise ValueError(f"ball_query: radius must not be negative, got {radius}")
    if padding not in ("first", "none"):
        raise ValueError(f"ball_query: padding must be 'first' or 'none', got {padding!r}")
    limit = torch.full((1,), radius, dtype=sources.rows.dtype, device=points.device).square()
    rows, counts = torch.ops.geo3d.ball_query(
        queries.rows.detach(),
        sources.rows.detach(),
        queries.begin,
        queries.end,
        sources.begin,
        sources.end,
        limit,
        max_neighbors,
    )
    if padding == "first":
        rows = torch.where(rows < 0, rows[:, :1], rows)
    if query.ndim == 2:
        return BallNeighbors(rows, counts)
    return BallNeighbors(_within_clouds(rows, query, queries, sources), counts.view(query.shape[:2]))


def _paired_rows(
    op: str,
    query: Tensor,
    points: Tensor,
    query_lengths: Tensor | None,
    lengths: Tensor | None,
    query_batch: Tensor | None,
    batch_index: Tensor | None,
    batch_size: int | None,
) -> tuple[Rows, Rows]:
    """Rows of the queries and of the points, which must have as many clouds."""
    if query.ndim != points.ndim:
        raise ValueError(
            f"{op}: query and points must both be dense or both packed, got {list(query.shape)} and {list(points.shape)}"
        )
    if query.dtype != points.dtype or query.device != points.device:
        raise ValueError(
            f"{op}: query and points must share dtype and device, got {query.dtype} on {query.device} and {points.dtype} on {points.device}"
        )
    if batch_size is None and query_batch is not None and batch_index is not None:
        last = [int(index[-1]) + 1 for index in (query_batch, batch_index) if len(index)]
        batch_size = max(last, default=0)
    queries = rows_of(op, "query", query, query_lengths, query_batch, batch_size)
    sources = rows_of(op, "points", points, lengths, batch_index, batch_size)
    if len(queries.begin) != len(sources.begin):
        raise ValueError(f"{op}: query and points must have as many clouds, got {len(queries.begin)} and {len(sources.begin)}")
    check_finite(op, "query", queries)
    check_finite(op, "points", sources)
    return queries, sources


def _within_clouds(rows: Tensor, query: Tensor, queries: Rows, sources: Rows) -> Tensor:
    """Rows [Q, k] as indices [B, M, k] within the clouds of a dense batch."""
    if len(query) > 1:
        each = len(queries.rows) // len(query)
        first = sources.begin.repeat_interleave(each, output_size=len(queries.rows))[:, None]
        rows = (rows - first).clamp_(min=-1)
    return rows.view(*query.shape[:2], rows.shape[1])


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


@torch.library.custom_op("geo3d::ball_query", mutates_args=(), device_types="cpu")
def _ball_query(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, limit: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import neighbors as cpu

    return cpu.ball_query(query, points, query_begin, query_end, begin, end, limit, k)


@_ball_query.register_kernel("cuda")
def _(query, points, query_begin, query_end, begin, end, limit, k):
    from geo3d.ops.cuda import neighbors as cuda

    return cuda.ball_query(query, points, query_begin, query_end, begin, end, limit, k)


@_ball_query.register_fake
def _(query, points, query_begin, query_end, begin, end, limit, k):
    return begin.new_empty((query.shape[0], k)), begin.new_empty((query.shape[0],))
