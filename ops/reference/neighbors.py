"""Definition of the nearest neighbours, and of those in a ball, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def knn(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """query [Q, 3], points [R, 3], cloud b in rows *begin[b]..*end[b] -> rows [Q, k] (-1: none) and squared distances [Q, k]."""
    rows = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    distances = torch.full((len(query), k), float("inf"), dtype=query.dtype, device=query.device)
    for b in range(len(begin)):
        asked = slice(query_begin[b], query_end[b])
        x, y, z = (query[asked, None] - points[None, begin[b] : end[b]]).unbind(-1)
        nearest, index = (x * x + y * y + z * z).sort(dim=1, stable=True)
        found = min(k, index.shape[1])
        rows[asked, :found] = index[:, :found] + begin[b]
        distances[asked, :found] = nearest[:, :found]
    return rows, distances


def ball_query(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, limit: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """query [Q, 3], points [R, 3], limit [1] squared radius -> the k lowest rows closer than it [Q, k] (-1: none), their number [Q]."""
    rows = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    for b in range(len(begin)):
        asked = slice(query_begin[b], query_end[b])
        x, y, z = (query[asked, None] - points[None, begin[b] : end[b]]).unbind(-1)
        inside = x * x + y * y + z * z < limit
        index = torch.arange(inside.shape[1], device=query.device).expand_as(inside)
        lowest = torch.where(inside, index, inside.shape[1]).sort(dim=1).values[:, :k]
        rows[asked, : lowest.shape[1]] = torch.where(lowest < inside.shape[1], lowest + begin[b], -1)
    return rows, (rows >= 0).sum(1)
