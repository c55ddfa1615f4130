"""Definition of farthest point sampling in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def farthest_point_sample(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, num_samples: int, cuda_ties: bool = False
) -> Tensor:
    """points [R, 3], cloud b in rows begin[b]..end[b], start [B] -> [B, num_samples] indices within each cloud."""
    picks = torch.full((len(begin), num_samples), -1, dtype=torch.int64, device=points.device)
    for b in range(len(begin)):
        cloud = points[begin[b] : end[b]]
        if len(cloud) == 0:
            continue
        order = tie_order(len(cloud), cuda_ties).to(points.device)
        nearest = torch.full_like(cloud[:, 0], float("inf"))
        pick = start[b]
        for s in range(num_samples):
            picks[b, s] = pick
            x, y, z = (cloud - cloud[pick]).unbind(1)
            nearest = torch.minimum(nearest, x * x + y * y + z * z)
            farthest = nearest[order].argmax()  # the first of equals in `order`
            pick = order[farthest] if nearest.max() > 0 else start[b]
    return picks


def tie_order(count: int, cuda_ties: bool) -> Tensor:
    """[count] indices, those that win a tie first."""
    index = torch.arange(count)
    if not cuda_ties:
        return index
    bits = (min(count, 1024)).bit_length() - 1  # block of 2**bits threads
    slot = index % (1 << bits)
    reversed_slot = sum(((slot >> bit) & 1) << (bits - 1 - bit) for bit in range(bits)) if bits else slot
    return torch.argsort(reversed_slot * count + index)
