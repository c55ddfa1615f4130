"""Nearest neighbours, and those in a ball, by programs that keep the best keys so far and pass over blocks of points that are too far.

In large clouds points and queries are taken along a space-filling curve, in blocks with bounds, and a program passes over the
blocks of points that are too far from all of its queries. Distances and bounds round alike (no fused multiply-add), and rounding
keeps the order, so a bound never exceeds a distance: the result is that of looking at every point.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.clouds import along_a_curve, block_of_program, block_offsets, most_blocks
from geo3d.ops.cuda.launch import EXACT

NO_NEIGHBOR = tl.constexpr(0x7FFFFFFFFFFFFFFF)
TILE = 64  # points that share bounds


def nearest_by_blocks(
    query: Tensor,
    points: Tensor,
    query_begin: Tensor,
    query_end: Tensor,
    begin: Tensor,
    end: Tensor,
    limit: Tensor,
    rows: Tensor,
    found: Tensor,
    k: int,
    ball: bool,
    is_sorted: bool,
) -> None:
    """Fill rows [Q, k] and what is found: squared distances [Q, k], or in a ball the number [Q].

    Arguments as those of `knn`; limit [1], the squared radius, is looked at for balls alone; is_sorted: along a curve, with bounds.
    """
    block = max(16, triton.next_power_of_2(k))
    queries, tile = max(1, 1024 // block), max(TILE, block)
    clouds, halvings = len(begin), len(begin).bit_length()
    order = query_order = bounds = begin  # not looked at
    tiles = block_offsets(begin, end, tile)
    if is_sorted:
        order = along_a_curve(points, begin, end)
        query_order = order if query is points else along_a_curve(query, query_begin, query_end)
        query, points = query[query_order], points[order]
        programs = most_blocks(len(points), clouds, tile)
        bounds = points.new_empty((programs, 8))
        _bounds_kernel[(programs,)](points, begin, end, tiles, clouds, halvings, bounds, TILE=tile, num_warps=1, **EXACT)
    offsets = block_offsets(query_begin, query_end, queries)
    _nearest_kernel[(most_blocks(len(query), clouds, queries),)](
        query, points, query_order, order, query_begin, query_end, begin, end, offsets, tiles, clouds, halvings, bounds, limit,
        rows, found, k, BALL=ball, SORTED=is_sorted, QUERIES=queries, BLOCK=block, TILE=tile, TILES=64, num_warps=4, **EXACT,
    )  # fmt: skip


@triton.jit(do_not_specialize=["clouds", "halvings"])
def _bounds_kernel(points, begin, end, tiles, clouds, halvings, bounds, TILE: tl.constexpr):
    """One program per block of a cloud: least and largest x, y, z."""
    b, tile = block_of_program(tiles, clouds, halvings)
    if b < clouds:
        i = tl.load(begin + b) + tile * TILE + tl.arange(0, TILE)
        inside = i < tl.load(end + b)
        target = bounds + tl.program_id(0).to(tl.int64) * 8
        for axis in tl.static_range(3):
            tl.store(target + axis, tl.min(tl.load(points + i * 3 + axis, inside, other=float("inf")), 0))
            tl.store(target + 3 + axis, tl.max(tl.load(points + i * 3 + axis, inside, other=float("-inf")), 0))


@triton.jit(do_not_specialize=["clouds", "halvings"])
def _nearest_kernel(
    query,
    points,
    query_order,
    order,
    query_begin,
    query_end,
    begin,
    end,
    offsets,
    tiles,
    clouds,
    halvings,
    bounds,
    limit,
    rows,
    found,
    k,
    BALL: tl.constexpr,
    SORTED: tl.constexpr,
    QUERIES: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
):
    """One program per block of queries of a cloud; keys are (distance bits << 32 | index), or in a ball the index alone.

    `best` holds the BLOCK smallest keys in ascending order; against a descending block, the elementwise minimum is the smaller half.
    """
    b, block = block_of_program(offsets, clouds, halvings)
    if b < clouds:
        q = tl.load(query_begin + b) + block * QUERIES + tl.arange(0, QUERIES)
        valid = q < tl.load(query_end + b)
        qx = tl.load(query + q * 3, valid, other=0.0)
        qy = tl.load(query + q * 3 + 1, valid, other=0.0)
        qz = tl.load(query + q * 3 + 2, valid, other=0.0)
        first = tl.load(begin + b)
        stop = tl.load(end + b)
        slot = tl.arange(0, BLOCK)
        best = tl.full((QUERIES, BLOCK), NO_NEIGHBOR, tl.int64)
        last = tl.where(valid, NO_NEIGHBOR, -1)  # the k-th key of each query; nothing is sought for queries past the end
        if SORTED:
            low = tl.load(tiles + b)
            high = tl.load(tiles + b + 1)
            target = q
            q = tl.load(query_order + q, valid, other=0)
            low_x, high_x = _range(qx, valid)
            low_y, high_y = _range(qy, valid)
            low_z, high_z = _range(qz, valid)
            nearest = high
            one = low
            if not BALL:  # a good bound first: the block of points that is nearest to those of the queries
                least = low_x * 0 + float("inf")
                for some in range(low, high, TILES):
                    t = some + tl.arange(0, TILES)
                    gap = _gap(bounds + t * 8, t < high, low_x, high_x, low_y, high_y, low_z, high_z)
                    gap = tl.where(t < high, gap, float("inf"))
                    smallest = tl.min(gap, 0)
                    nearest = tl.where(smallest < least, tl.min(tl.where(gap == smallest, t, high), 0), nearest)
                    least = tl.minimum(least, smallest)
                one = low - 1
            radius = tl.load(limit)
            while one < high:
                tile = tl.where(one < low, tl.minimum(nearest, high - 1), one)
                step = one * 0 + 1
                if (one >= low) & ((one - low) % TILES == 0):  # none of so many blocks?
                    t = one + tl.arange(0, TILES)
                    gap = _gap(bounds + t * 8, t < high, low_x, high_x, low_y, high_y, low_z, high_z)
                    is_any = tl.max((_is_near(gap, last, radius, BALL) & (t < high)).to(tl.int32), 0) > 0
                    step = tl.where(is_any, step, TILES)
                gap_of_tile = _gap(bounds + tile * 8, tile < high, low_x, high_x, low_y, high_y, low_z, high_z)
                if (step == 1) & (low < high) & (one != nearest) & _is_near(gap_of_tile, last, radius, BALL):
                    for inner in range(0, TILE, BLOCK):
                        at = first + (tile - low) * TILE + inner
                        best, last = _merge(
                            points, order, first, at, stop, qx, qy, qz, best, last, radius, k, BALL, SORTED, BLOCK
                        )
                one += step
        else:
            for at in range(first, stop, BLOCK):
                best, last = _merge(points, order, first, at, stop, qx, qy, qz, best, last, qx, k, BALL, SORTED, BLOCK)
        target = q[:, None] * k + slot[None, :]
        is_found = valid[:, None] & (slot[None, :] < k) & (best != NO_NEIGHBOR)
        tl.store(rows + target, (best & 0xFFFFFFFF) + first, is_found)
        if BALL:
            tl.store(found + q, tl.sum(is_found.to(tl.int64), 1), valid)
        else:
            tl.store(found + target, (best >> 32).to(tl.int32).to(tl.float32, bitcast=True), is_found)


@triton.jit
def _merge(
    points,
    order,
    first,
    at,
    stop,
    qx,
    qy,
    qz,
    best,
    last,
    radius,
    k,
    BALL: tl.constexpr,
    SORTED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """BLOCK points from row `at` on, put into the best keys; the sort is left out where none of them is good enough."""
    i = at + tl.arange(0, BLOCK).to(tl.int64)
    inside = i < stop
    dx = qx[:, None] - tl.load(points + i * 3, inside, other=0.0)[None, :]
    dy = qy[:, None] - tl.load(points + i * 3 + 1, inside, other=0.0)[None, :]
    dz = qz[:, None] - tl.load(points + i * 3 + 2, inside, other=0.0)[None, :]
    squared = dx * dx + dy * dy + dz * dz
    index = (tl.load(order + i, inside, other=0) if SORTED else i) - first
    if BALL:
        key = tl.where(inside[None, :] & (squared < radius), index[None, :], NO_NEIGHBOR)
    else:
        bits = squared.to(tl.int32, bitcast=True).to(tl.int64)
        key = tl.where(inside[None, :], (bits << 32) | index[None, :], NO_NEIGHBOR)
    if tl.max(tl.max((key < last[:, None]).to(tl.int32), 1), 0) > 0:
        best = tl.sort(tl.minimum(best, tl.sort(key, descending=True)))
        kth = tl.min(tl.where(tl.arange(0, BLOCK)[None, :] == k - 1, best, NO_NEIGHBOR), 1)
        last = tl.minimum(last, kth)
    return best, last


@triton.jit
def _range(values, valid):
    return tl.min(tl.where(valid, values, float("inf")), 0), tl.max(tl.where(valid, values, float("-inf")), 0)


@triton.jit
def _gap(bounds, mask, low_x, high_x, low_y, high_y, low_z, high_z):
    """Squared distance of bounds from those of the queries."""
    x = tl.maximum(tl.load(bounds, mask, other=0.0) - high_x, low_x - tl.load(bounds + 3, mask, other=0.0))
    y = tl.maximum(tl.load(bounds + 1, mask, other=0.0) - high_y, low_y - tl.load(bounds + 4, mask, other=0.0))
    z = tl.maximum(tl.load(bounds + 2, mask, other=0.0) - high_z, low_z - tl.load(bounds + 5, mask, other=0.0))
    x, y, z = tl.maximum(x, 0.0), tl.maximum(y, 0.0), tl.maximum(z, 0.0)
    return x * x + y * y + z * z


@triton.jit
def _is_near(gap, last, radius, BALL: tl.constexpr):
    """Whether a point at that squared distance may be among the result of a query: an equally far one may, by its index."""
    if BALL:
        return gap < radius
    else:
        return gap.to(tl.int32, bitcast=True) <= (tl.max(last, 0) >> 32).to(tl.int32)
