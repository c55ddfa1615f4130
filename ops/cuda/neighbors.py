"""Nearest neighbours, and those in a ball, in Triton: by blocks with bounds, or through all points where those do not serve."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.clouds import block_of_program, block_offsets, most_blocks
from geo3d.ops.cuda.launch import EXACT, on_device_of_tensors
from geo3d.ops.cuda.neighbors_by_blocks import NO_NEIGHBOR, nearest_by_blocks

SMALL = 8192  # points of a cloud, on average, up to which sorting them takes longer than it saves
MAX_NEIGHBORS = 1024  # of which a program keeps track


@on_device_of_tensors
def knn(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """query [Q, 3], points [R, 3], cloud b in rows *begin[b]..*end[b] -> rows [Q, k] (-1: none) and squared
    distances [Q, k].

    Float64, for checks, goes through all points once for each neighbour.
    """
    rows = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    distances = torch.full((len(query), k), float("inf"), dtype=query.dtype, device=query.device)
    if len(query) == 0 or len(begin) == 0:
        return rows, distances
    if query.dtype == torch.float64 or k > MAX_NEIGHBORS:
        offsets = block_offsets(query_begin, query_end, 16)
        _one_by_one_kernel[(most_blocks(len(query), len(begin), 16),)](
            query, points, query_begin, query_end, begin, end, offsets, len(begin), len(begin).bit_length(), rows, distances, k,
            QUERIES=16, BLOCK=64, num_warps=4, **EXACT,
        )  # fmt: skip
    else:
        is_large = len(points) > SMALL * len(begin)
        nearest_by_blocks(
            query, points, query_begin, query_end, begin, end, query, rows, distances, k, ball=False, is_sorted=is_large
        )
    return rows, distances


@on_device_of_tensors
def ball_query(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, limit: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """query [Q, 3], points [R, 3], limit [1] squared radius -> the k lowest rows closer than it [Q, k] (-1: none), their number [Q]."""
    rows = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    counts = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    if len(query) == 0 or len(begin) == 0:
        return rows, counts
    if len(points) > SMALL * len(begin) and k <= MAX_NEIGHBORS:
        nearest_by_blocks(query, points, query_begin, query_end, begin, end, limit, rows, counts, k, ball=True, is_sorted=True)
    else:
        offsets = block_offsets(query_begin, query_end, 16)
        _ball_query_kernel[(most_blocks(len(query), len(begin), 16),)](
            query, points, query_begin, query_end, begin, end, offsets, len(begin), len(begin).bit_length(), limit, rows, counts,
            k, QUERIES=16, BLOCK=128, num_warps=4, **EXACT,
        )  # fmt: skip
    return rows, counts


@triton.jit(do_not_specialize=["clouds", "halvings"])
def _one_by_one_kernel(
    query,
    points,
    query_begin,
    query_end,
    begin,
    end,
    offsets,
    clouds,
    halvings,
    rows,
    distances,
    k,
    QUERIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per block of queries of a cloud: the next neighbour is the nearest of the points behind the one before."""
    b, block = block_of_program(offsets, clouds, halvings)
    if b < clouds:
        q = tl.load(query_begin + b) + block * QUERIES + tl.arange(0, QUERIES)
        valid = q < tl.load(query_end + b)
        qx = tl.load(query + q * 3, valid, other=0.0)[:, None]
        qy = tl.load(query + q * 3 + 1, valid, other=0.0)[:, None]
        qz = tl.load(query + q * 3 + 2, valid, other=0.0)[:, None]
        first = tl.load(begin + b)
        stop = tl.load(end + b)
        last = q * 0 - 1
        reached = tl.load(query + q * 3, valid, other=0.0) * 0 - 1
        for j in range(tl.minimum(stop - first, k)):
            least = tl.full((QUERIES,), float("inf"), reached.dtype)
            winner = q * 0 + NO_NEIGHBOR
            for at in range(first, stop, BLOCK):
                i = at + tl.arange(0, BLOCK).to(tl.int64)
                inside = i < stop
                dx = qx - tl.load(points + i * 3, inside, other=0.0)[None, :]
                dy = qy - tl.load(points + i * 3 + 1, inside, other=0.0)[None, :]
                dz = qz - tl.load(points + i * 3 + 2, inside, other=0.0)[None, :]
                squared = dx * dx + dy * dy + dz * dz
                behind = (squared > reached[:, None]) | ((squared == reached[:, None]) & (i[None, :] > last[:, None]))
                squared = tl.where(behind & inside[None, :], squared, float("inf"))
                smallest = tl.min(squared, 1)
                place = tl.where((squared == smallest[:, None]) & behind & inside[None, :], i[None, :], NO_NEIGHBOR)
                place = tl.min(place, 1)
                better = (smallest < least) | ((smallest == least) & (place < winner))
                winner = tl.where(better, place, winner)
                least = tl.where(better, smallest, least)
            tl.store(rows + q * k + j, winner, valid & (winner != NO_NEIGHBOR))
            tl.store(distances + q * k + j, least, valid & (winner != NO_NEIGHBOR))
            reached = least
            last = winner


@triton.jit(do_not_specialize=["clouds", "halvings"])
def _ball_query_kernel(
    query,
    points,
    query_begin,
    query_end,
    begin,
    end,
    offsets,
    clouds,
    halvings,
    limit,
    rows,
    counts,
    k,
    QUERIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per block of queries of a cloud, through the points in ascending order until every query has its k."""
    b, block = block_of_program(offsets, clouds, halvings)
    if b < clouds:
        first = tl.load(begin + b)
        count = tl.load(end + b) - first
        q = tl.load(query_begin + b) + block * QUERIES + tl.arange(0, QUERIES)
        valid = q < tl.load(query_end + b)
        qx = tl.load(query + q * 3, valid, other=0.0)[:, None]
        qy = tl.load(query + q * 3 + 1, valid, other=0.0)[:, None]
        qz = tl.load(query + q * 3 + 2, valid, other=0.0)[:, None]
        squared_radius = tl.load(limit)
        found = tl.where(valid, 0, k)
        offset = count * 0
        while (offset < count) & (tl.min(found, 0) < k):
            i = offset + tl.arange(0, BLOCK).to(tl.int64)
            inside = i < count
            source = points + (first + i) * 3
            dx = qx - tl.load(source, inside, other=0.0)[None, :]
            dy = qy - tl.load(source + 1, inside, other=0.0)[None, :]
            dz = qz - tl.load(source + 2, inside, other=0.0)[None, :]
            near = inside[None, :] & (dx * dx + dy * dy + dz * dz < squared_radius)
            place = found[:, None] + tl.cumsum(near.to(tl.int32), 1) - 1
            row = tl.broadcast_to((first + i)[None, :], (QUERIES, BLOCK))
            tl.store(rows + q[:, None] * k + place, row, near & (place < k))
            found = tl.minimum(found + tl.sum(near.to(tl.int32), 1), k)
            offset += BLOCK
        tl.store(counts + q, found.to(tl.int64), valid)
