"""Definition of attention among the rows of sets in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def set_attention(query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float) -> Tensor:
    """query, key, value [V, C], sets [S, T] rows, padding [S, T] bool -> [V, C], zero for rows in no set."""
    has_rows = ~padding.all(1)
    sets, padding = sets[has_rows], padding[has_rows]
    rows = sets.masked_fill(padding, 0).long()
    q, k, v = (x[rows].unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))  # [S, heads, T, C / heads]
    scores = (q @ k.mT * scale).masked_fill(padding[:, None, None], -torch.inf)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)  # [S, T, C]
    return torch.zeros_like(value).index_put((rows[~padding],), mixed[~padding])
