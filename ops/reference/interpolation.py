"""Definition of weighted sums of rows, and of their transpose, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_rows(values: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """values [R, C], rows [Q, k] int64 (-1: none), weights [Q, k] -> [Q, C], the weighted sum of the k rows of each query."""
    kept = rows >= 0
    if len(values) == 0:
        return values.new_zeros(len(rows), values.shape[1])
    return torch.where(kept[..., None], weights[..., None] * values[rows.clamp(min=0)], 0).sum(1)


def add_weighted_rows(values: Tensor, rows: Tensor, weights: Tensor, count: int) -> Tensor:
    """The transpose: weights[q, j] * values[q], values [Q, C], summed into row rows[q, j] of [count, C]."""
    kept = rows >= 0
    spread = (weights[..., None] * values[:, None])[kept]
    return values.new_zeros(count, values.shape[1]).index_add(0, rows[kept], spread)
