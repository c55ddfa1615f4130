"""Definition of the reductions over rows that share an index, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.reference.grouping import gather_rows


def scatter_sum(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """values [N, C] summed into [rows, C] at index [N] (-1: dropped)."""
    kept = index >= 0
    return values.new_zeros(rows, values.shape[1]).index_add(0, index[kept], values[kept])


def scatter_mean(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """The sums over the number of rows that went into them; zero where none did."""
    count = torch.bincount(index[index >= 0], minlength=rows)
    return scatter_sum(values, index, rows) / count.clamp(min=1)[:, None].to(values.dtype)


def scatter_max(values: Tensor, index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Largest values [rows, C] (zero where none) and the first input row that has them [rows, C] (N where none)."""
    count, channels = values.shape
    kept = (index >= 0).nonzero()[:, 0]
    target = index[kept, None].expand(-1, channels)
    best = values.new_zeros(rows, channels).scatter_reduce(0, target, values[kept], "amax", include_self=False)
    winner = best[index[kept]]
    is_best = (values[kept] == winner) | (values[kept].isnan() & winner.isnan())
    candidates = torch.where(is_best, kept[:, None], count)
    none = torch.full((rows, channels), count, device=values.device)
    return best, none.scatter_reduce(0, target, candidates, "amin")


def scatter_min(values: Tensor, index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Smallest values [rows, C] (zero where none) and the first input row that has them [rows, C] (N where none)."""
    best, winner = scatter_max(-values, index, rows)
    return torch.where(winner < len(values), -best, 0), winner


def scatter_logsumexp(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """log(sum(exp(values))) [rows, C], minus infinity where no row goes."""
    best = scatter_max(values.detach(), index, rows)[0].nan_to_num(nan=torch.nan, posinf=0, neginf=0)
    return scatter_sum((values - gather_rows(best, index)).exp(), index, rows).log() + best


def scatter_softmax(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """exp(values) over its sum among the rows that share an index [N, C]; zero where the index is -1."""
    best = scatter_max(values.detach(), index, rows)[0]
    exponential = (values - gather_rows(best, index)).exp()
    return torch.where(index[:, None] < 0, 0, exponential / gather_rows(scatter_sum(exponential, index, rows), index))
