"""Definition of gathering rows, and of its transpose, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """values [R, C], rows [M] int64 (-1: zeros) -> [M, C]."""
    padded = torch.cat([values, torch.zeros_like(values[:1]) if len(values) else values.new_zeros(1, values.shape[1])])
    return padded[torch.where(rows < 0, len(values), rows)]


def add_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """values [M, C] summed into [count, C] at rows [M] (-1: dropped)."""
    kept = rows >= 0
    return values.new_zeros(count, values.shape[1]).index_add(0, rows[kept], values[kept])
