"""Farthest point sampling in Triton: small clouds by one program each, large ones by many programs and one launch for each pick."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import EXACT, on_device_of_tensors

SMALL = 16384  # points of a cloud, on average, up to which a round of one program takes less than a launch
PARTS = 32  # programs of a large cloud
NO_INDEX = tl.constexpr(0x7FFFFFFFFFFFFFFF)


@on_device_of_tensors
def farthest_point_sample(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, num_samples: int, cuda_ties: bool
) -> Tensor:
    """points [R, 3], cloud b in rows begin[b]..end[b], start [B] -> [B, num_samples] indices within each cloud."""
    clouds = len(begin)
    picks = torch.full((clouds, num_samples), -1, dtype=torch.int64, device=points.device)
    if clouds == 0 or num_samples == 0 or len(points) == 0:
        return picks
    nearest = torch.full((len(points),), float("inf"), dtype=points.dtype, device=points.device)
    if len(points) > SMALL * clouds:
        _by_rounds(points, begin, end, start, nearest, picks, cuda_ties)
        return picks
    block = min(4096, max(64, triton.next_power_of_2(-(-len(points) // clouds))))
    _farthest_points_kernel[(clouds,)](
        points, begin, end, start, nearest, picks, num_samples, cuda_ties, BLOCK=block, num_warps=max(1, min(16, block // 128)),
        **EXACT,
    )  # fmt: skip
    return picks


def _by_rounds(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, nearest: Tensor, picks: Tensor, cuda_ties: bool
) -> None:
    """A launch for each pick: programs cannot wait for each other, and the end of a launch is when all are done."""
    clouds, num_samples = picks.shape
    # of each part: the largest distance, and rank and index of its point; a round reads what the one before left
    distances = [points.new_empty((clouds, PARTS)) for _ in range(2)]
    places = [picks.new_empty((clouds, PARTS, 2)) for _ in range(2)]
    for round_ in range(num_samples):
        old, new = round_ % 2, 1 - round_ % 2
        _round_kernel[(clouds * PARTS,)](
            points, begin, end, start, nearest, picks, distances[old], places[old], distances[new], places[new], round_,
            num_samples, cuda_ties, PARTS=PARTS, BLOCK=1024, num_warps=4, **EXACT,
        )  # fmt: skip


@triton.jit
def _farthest_points_kernel(
    points, begin, end, start, nearest, picks, num_samples, CUDA_TIES: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per cloud: each round lowers the running distances and keeps the largest, of equals the lowest rank."""
    b = tl.program_id(0).to(tl.int64)
    first = tl.load(begin + b)
    count = tl.load(end + b) - first
    beginning = tl.load(start + b)
    pick = beginning
    for s in range(num_samples):
        if count > 0:
            tl.store(picks + b * num_samples + s, pick)
            largest, _, winner = _lower(points, nearest, first, count, pick, 0, count, CUDA_TIES, BLOCK)
            pick = tl.where(largest > 0, winner, beginning)
            tl.debug_barrier()


@triton.jit(do_not_specialize=["s"])
def _round_kernel(
    points,
    begin,
    end,
    start,
    nearest,
    picks,
    old_distances,
    old_places,
    new_distances,
    new_places,
    s,
    num_samples,
    CUDA_TIES: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per part of a cloud: which point the round before found, and the largest distance of this part to the picks."""
    program = tl.program_id(0).to(tl.int64)
    b = program // PARTS
    part = program % PARTS
    first = tl.load(begin + b)
    count = tl.load(end + b) - first
    pick = tl.load(start + b)
    if count > 0:
        if s > 0:
            place = b * PARTS + tl.arange(0, PARTS)
            distance = tl.load(old_distances + place)
            rank = tl.load(old_places + place * 2)
            index = tl.load(old_places + place * 2 + 1)
            top = tl.max(distance, 0)
            top_rank = tl.min(tl.where(distance == top, rank, NO_INDEX), 0)
            winner = tl.min(tl.where((distance == top) & (rank == top_rank), index, NO_INDEX), 0)
            pick = tl.where(top > 0, winner, pick)
        if part == 0:
            tl.store(picks + b * num_samples + s, pick)
        size = (count + PARTS - 1) // PARTS
        low = part * size
        high = tl.minimum(low + size, count)
        largest, winner_rank, winner = _lower(points, nearest, first, count, pick, low, high, CUDA_TIES, BLOCK)
        tl.store(new_distances + program, largest)
        tl.store(new_places + program * 2, winner_rank)
        tl.store(new_places + program * 2 + 1, winner)


@triton.jit
def _lower(points, nearest, first, count, pick, low, high, CUDA_TIES: tl.constexpr, BLOCK: tl.constexpr):
    """Lower the distances of points low..high of a cloud to that from the pick; the largest, and rank and index of its point."""
    row = (first + pick) * 3
    px, py, pz = tl.load(points + row), tl.load(points + row + 1), tl.load(points + row + 2)
    largest = px * 0 - 1
    winner = count * 0
    winner_rank = count * 0
    bits = 0
    if CUDA_TIES:
        while (2 << bits) <= tl.minimum(count, 1024):
            bits += 1
    for offset in range(low, high, BLOCK):
        i = offset + tl.arange(0, BLOCK).to(tl.int64)
        inside = i < high
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
        top_rank = tl.min(tl.where(value == top, rank, NO_INDEX), 0)
        top_index = tl.min(tl.where((value == top) & (rank == top_rank), i, NO_INDEX), 0)
        better = (top > largest) | ((top == largest) & (top_rank < winner_rank))
        largest = tl.where(better, top, largest)
        winner = tl.where(better, top_index, winner)
        winner_rank = tl.where(better, top_rank, winner_rank)
    return largest, winner_rank, winner
