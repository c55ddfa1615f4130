"""Definition of the nearest neighbours in plain torch."""

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
