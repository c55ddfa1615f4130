"""Nearest neighbours, and those in a ball, in Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.reference import neighbors as reference

NO_NEIGHBOR = tl.constexpr(0x7FFFFFFFFFFFFFFF)


def knn(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """As `geo3d.ops.reference.neighbors.knn`; float64 runs the reference, since the kernel packs distance and index in 64 bits."""
    if query.dtype == torch.float64:
        return reference.knn(query, points, query_begin, query_end, begin, end, k)
    rows = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    distances = torch.full((len(query), k), float("inf"), dtype=query.dtype, device=query.device)
    if len(query) == 0 or len(begin) == 0:
        return rows, distances
    block = max(16, triton.next_power_of_2(k))
    queries = max(1, 1024 // block)
    grid = (len(begin), triton.cdiv(len(query), queries))  # clouds differ in size: programs past a cloud's end stop at once
    _knn_kernel[grid](
        query, points, query_begin, query_end, begin, end, rows, distances, k, QUERIES=queries, BLOCK=block, num_warps=4
    )
    return rows, distances


def ball_query(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, limit: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """As `geo3d.ops.reference.neighbors.ball_query`."""
    rows = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    counts = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    if len(query) and len(begin):
        queries = 16
        grid = (len(begin), triton.cdiv(len(query), queries))
        _ball_query_kernel[grid](
            query, points, query_begin, query_end, begin, end, limit, rows, counts, k, QUERIES=queries, BLOCK=128, num_warps=4
        )
    return rows, counts


@triton.jit
def _knn_kernel(
    query, points, query_begin, query_end, begin, end, rows, distances, k, QUERIES: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per (cloud, block of queries); keys are (distance bits << 32 | index), so one sort orders both.

    `best` holds the BLOCK smallest keys in ascending order; against a descending block, the elementwise minimum is the smaller half.
    """
    b = tl.program_id(0).to(tl.int64)
    asked = tl.load(query_begin + b) + tl.program_id(1).to(tl.int64) * QUERIES
    stop = tl.load(query_end + b)
    first = tl.load(begin + b)
    count = tl.load(end + b) - first
    if asked < stop:
        q = asked + tl.arange(0, QUERIES)
        valid = q < stop
        qx = tl.load(query + q * 3, valid, other=0.0)[:, None]
        qy = tl.load(query + q * 3 + 1, valid, other=0.0)[:, None]
        qz = tl.load(query + q * 3 + 2, valid, other=0.0)[:, None]
        slot = tl.arange(0, BLOCK)
        best = tl.full((QUERIES, BLOCK), NO_NEIGHBOR, tl.int64)
        for offset in range(0, count, BLOCK):
            i = offset + slot.to(tl.int64)
            inside = i < count
            source = points + (first + i) * 3
            dx = qx - tl.load(source, inside, other=0.0)[None, :]
            dy = qy - tl.load(source + 1, inside, other=0.0)[None, :]
            dz = qz - tl.load(source + 2, inside, other=0.0)[None, :]
            squared = dx * dx + dy * dy + dz * dz
            bits = squared.to(tl.int32, bitcast=True).to(tl.int64)
            key = tl.where(inside[None, :], (bits << 32) | i[None, :], NO_NEIGHBOR)
            best = tl.sort(tl.minimum(best, tl.sort(key, descending=True)))
        target = q[:, None] * k + slot[None, :]
        found = valid[:, None] & (slot[None, :] < k) & (best != NO_NEIGHBOR)
        tl.store(rows + target, (best & 0xFFFFFFFF) + first, found)
        tl.store(distances + target, (best >> 32).to(tl.int32).to(tl.float32, bitcast=True), found)


@triton.jit
def _ball_query_kernel(
    query, points, query_begin, query_end, begin, end, limit, rows, counts, k, QUERIES: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per (cloud, block of queries), through the points in ascending order until every query has its k."""
    b = tl.program_id(0).to(tl.int64)
    asked = tl.load(query_begin + b) + tl.program_id(1).to(tl.int64) * QUERIES
    stop = tl.load(query_end + b)
    first = tl.load(begin + b)
    count = tl.load(end + b) - first
    if asked < stop:
        q = asked + tl.arange(0, QUERIES)
        valid = q < stop
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
