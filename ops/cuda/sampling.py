"""Furthest point sampling in Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


def farthest_point_sample(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, num_samples: int, cuda_ties: bool
) -> Tensor:
    """As `geo3d.ops.reference.sampling.farthest_point_sample`."""
    picks = torch.full((len(begin), num_samples), -1, dtype=torch.int64, device=points.device)
    if len(begin) == 0 or num_samples == 0 or len(points) == 0:
        return picks
    nearest = torch.full((len(points),), float("inf"), dtype=points.dtype, device=points.device)
    block = min(4096, max(64, triton.next_power_of_2(-(-len(points) // len(begin)))))
    _farthest_points_kernel[(len(begin),)](
        points, begin, end, start, nearest, picks, num_samples, cuda_ties, BLOCK=block, num_warps=max(1, min(16, block // 128))
    )
    return picks


@triton.jit
def _farthest_points_kernel(
    points, begin, end, start, nearest, picks, num_samples, CUDA_TIES: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per cloud: each round lowers the running distances and keeps the largest, of equals the lowest rank."""
    b = tl.program_id(0).to(tl.int64)
    first = tl.load(begin + b)
    count = tl.load(end + b) - first
    beginning = tl.load(start + b)
    bits = 0
    while (2 << bits) <= tl.minimum(count, 1024):
        bits += 1
    pick = beginning
    for s in range(num_samples):
        if count > 0:
            tl.store(picks + b * num_samples + s, pick)
            row = (first + pick) * 3
            px, py, pz = tl.load(points + row), tl.load(points + row + 1), tl.load(points + row + 2)
            largest = px * 0 - 1
            winner = beginning * 0
            winner_rank = beginning * 0
            for offset in range(0, count, BLOCK):
                i = offset + tl.arange(0, BLOCK).to(tl.int64)
                inside = i < count
                source = points + (first + i) * 3
                dx = tl.load(source, inside, other=0.0) - px
                dy = tl.load(source + 1, inside, other=0.0) - py
                dz = tl.load(source + 2, inside, other=0.0) - pz
                value = tl.minimum(dx * dx + dy * dy + dz * dz, tl.load(nearest + first + i, inside, other=0.0))
                tl.store(nearest + first + i, value, inside)
                value = tl.where(inside, value, -1.0)
                rank = i
                if CUDA_TIES:
                    rank = i * 0
                    for bit in range(bits):
                        rank |= ((i >> bit) & 1) << (bits - 1 - bit)
                    rank = rank * count + i
                top = tl.max(value, 0)
                top_rank = tl.min(tl.where(value == top, rank, 0x7FFFFFFFFFFFFFFF), 0)
                top_index = tl.min(tl.where((value == top) & (rank == top_rank), i, 0x7FFFFFFFFFFFFFFF), 0)
                better = (top > largest) | ((top == largest) & (top_rank < winner_rank))
                largest = tl.where(better, top, largest)
                winner = tl.where(better, top_index, winner)
                winner_rank = tl.where(better, top_rank, winner_rank)
            pick = tl.where(largest > 0, winner, beginning)
            tl.debug_barrier()
