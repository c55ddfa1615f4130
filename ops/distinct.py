"""The distinct ones among integer keys, a fixed number of them, by torch's sort: on CUDA nothing waits for the host."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct_padded(keys: Tensor, limit: int, capacity: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first K distinct keys, the place of each key among them, how many of each, and the number [] of distinct keys.

    Args:
        keys: [N] int64, below `limit`; negative ones are left out.
        limit: short keys are sorted in half the time.
        capacity: K.

    Returns:
        [K] int64 in ascending order, then -1; [N] int64, -1 of keys that are left out or beyond the capacity; [K], then 0; [].
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
