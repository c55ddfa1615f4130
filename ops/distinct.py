"""The distinct ones among integer keys: as many as there are, with one wait for the host, or a fixed number without."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct(keys: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct keys [M] int64 in ascending order, the place of each key among them [N] (-1 for a negative key), how many of each [M].

    Args:
        keys: [N] int64, below `limit`; negative ones are left out.
        limit: short keys are sorted in half the time.
    """
    ascending, order, place = sorted_keys(keys, limit)
    number = int(place[-1]) if len(keys) else 0
    return _of_each(keys, ascending, order, place, number, limit)


def distinct_padded(keys: Tensor, limit: int, capacity: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first `capacity` of `distinct`, filled up with keys of -1 and counts of 0, and the number [] of distinct keys.

    Keys beyond the capacity have the place -1. Nothing waits for the host.
    """
    if len(keys) == 0:
        none = torch.full((capacity,), -1, dtype=torch.int64, device=keys.device)
        return none, keys, torch.zeros_like(none), none.new_zeros(())
    ascending, order, place = sorted_keys(keys, limit)
    values, inverse, counts = _of_each(keys, ascending, order, place, capacity, limit)
    return torch.where(counts > 0, values, -1), inverse, counts, place[-1]


def sorted_keys(keys: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys in ascending order, negative ones last as `limit`, the row of each, and how many distinct ones there are up to it: [N] each."""
    dtype = torch.int32 if limit < torch.iinfo(torch.int32).max else torch.int64
    ascending, order = torch.where(keys < 0, limit, keys).to(dtype).sort(stable=True)
    starts = torch.ones_like(ascending, dtype=torch.bool)
    starts[1:] = ascending[1:] != ascending[:-1]
    return ascending, order, (starts & (ascending < limit)).cumsum(0)


def _of_each(
    keys: Tensor, ascending: Tensor, order: Tensor, place: Tensor, number: int, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The first `number` distinct keys, the place of each key, how many of each, 0 of those that are not there."""
    inside = torch.where((ascending < limit) & (place <= number), place - 1, -1)
    inverse = torch.empty_like(keys).scatter_(0, order, inside)
    bounds = torch.searchsorted(place, torch.arange(1, number + 2, device=keys.device))
    end = torch.searchsorted(ascending, torch.full((1,), limit, dtype=ascending.dtype, device=keys.device))
    bounds = torch.minimum(bounds, end)
    values = ascending[bounds[:-1].clamp(max=max(len(keys) - 1, 0))] if len(keys) else ascending[:0]
    return values.long(), inverse, bounds.diff()
