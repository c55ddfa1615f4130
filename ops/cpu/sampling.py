"""Furthest point sampling on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges


def farthest_point_sample(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, num_samples: int, cuda_ties: bool
) -> Tensor:
    """As `geo3d.ops.reference.sampling.farthest_point_sample`; one thread a cloud."""
    picks = torch.empty((len(begin), num_samples), dtype=torch.int64)
    run_ranges(
        _farthest_points,
        len(begin),
        points.numpy(),
        begin.numpy(),
        end.numpy(),
        start.numpy(),
        cuda_ties,
        picks.numpy(),
    )
    return picks


@njit(nogil=True, cache=True, inline="always")
def _tie_rank(index, bits, count):
    """Rank of an index in the order in which a block reduction over 2**bits threads prefers equals."""
    slot = index & ((1 << bits) - 1)
    rank = 0
    for bit in range(bits):
        rank |= ((slot >> bit) & 1) << (bits - 1 - bit)
    return rank * count + index


@njit(nogil=True, cache=True)
def _update_nearest(x, y, z, px, py, pz, nearest):
    """Lower each running distance by the distance to the new pick; returns the largest."""
    largest = px * 0
    for i in range(len(nearest)):
        dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
        squared = dx * dx + dy * dy + dz * dz
        value = squared if squared < nearest[i] else nearest[i]
        nearest[i] = value
        largest = value if value > largest else largest
    return largest


@njit(nogil=True, cache=True)
def _farthest_points(points, begin, end, start, cuda_ties, picks, first_cloud, last_cloud):
    for b in range(first_cloud, last_cloud):
        count = end[b] - begin[b]
        if count == 0:
            picks[b] = -1
            continue
        cloud = points[begin[b] : end[b]]
        x, y, z = cloud[:, 0].copy(), cloud[:, 1].copy(), cloud[:, 2].copy()
        nearest = np.full(count, np.inf, points.dtype)
        bits = 0
        while 2 << bits <= min(count, 1024):
            bits += 1
        pick = start[b]
        for s in range(picks.shape[1]):
            picks[b, s] = pick
            largest = _update_nearest(x, y, z, x[pick], y[pick], z[pick], nearest)
            if largest == 0:
                pick = start[b]
                continue
            best_rank = np.int64(-1)
            for i in range(count):
                if nearest[i] == largest:
                    rank = _tie_rank(i, bits, count) if cuda_ties else i
                    if best_rank < 0 or rank < best_rank:
                        best_rank, pick = rank, i
                    if not cuda_ties:
                        break
