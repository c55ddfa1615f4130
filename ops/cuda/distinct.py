"""The distinct ones among integer keys, with one wait for the host: for their number."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct(keys: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct keys [M] int64 in ascending order, the place of each key among them [N] (-1 for a negative key), how many of each [M].

    Args:
        keys: [N] int64, below `limit`; negative ones are left out.
        limit: short keys are sorted in half the time.
    """
    dtype = torch.int32 if limit < torch.iinfo(torch.int32).max else torch.int64
    ascending, order = torch.where(keys < 0, limit, keys).to(dtype).sort(stable=True)
    starts = torch.ones_like(ascending, dtype=torch.bool)
    starts[1:] = ascending[1:] != ascending[:-1]
    place = (starts & (ascending < limit)).cumsum(0)  # the number of distinct keys so far
    number = int(place[-1]) if len(keys) else 0
    inside = torch.where(ascending < limit, place - 1, -1)
    inverse = torch.empty_like(keys).scatter_(0, order, inside)
    bounds = torch.searchsorted(place, torch.arange(1, number + 1, device=keys.device))
    end = torch.searchsorted(ascending, torch.full((1,), limit, dtype=dtype, device=keys.device))
    return ascending[bounds].long(), inverse, torch.cat([bounds, end]).diff()
