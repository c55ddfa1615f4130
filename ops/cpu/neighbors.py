"""Nearest neighbours and neighbours in a ball on the CPU, by k-d trees."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.packed_neighbors import MAX_ROWS, knn_packed
from geo3d.ops.cpu.threads import run_ranges
from geo3d.ops.cpu.tree import BLOCK, Trees, box_distance, build_trees, depth_for, query_order, squared_distances

NO_ROW = np.iinfo(np.int64).max
LEAF, BALL_LEAF = 32, 128  # points; in a ball the first points count, which longer leaves hold in order
CACHED = 20_000  # points that stay in the second cache, so that queries may come in any order


def knn(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """query [Q, 3], points [R, 3], cloud b in rows *begin[b]..*end[b] -> rows [Q, k] (-1: none) and squared distances [Q,
    k].
    """
    rows, distances = empty((len(query), k), torch.int64), empty((len(query), k), query.dtype)
    is_packed = query.dtype == torch.float32 and len(points) < MAX_ROWS
    if not is_packed or not len(points) or int((query_end - query_begin).sum()) < len(query):
        rows.fill_(-1)  # the packed search fills the rows of all queries that belong to a cloud
        distances.fill_(float("inf"))
    if len(query) and len(points):
        order, ranges, trees = _plan(query, points, query_begin, query_end, begin, end, fewest=64, leaf=LEAF)
        run_ranges(
            knn_packed if is_packed else _knn,
            len(query),
            query.numpy(),
            order,
            *ranges,
            *trees,
            rows.numpy(),
            distances.numpy(),
            grain=64,
        )
    return rows, distances


def ball_query(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, limit: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """query [Q, 3], points [R, 3], limit [1] squared radius -> the k lowest rows closer than it [Q, k] (-1: none), their number [Q]."""
    rows = empty((len(query), k), torch.int64).fill_(-1)
    counts = torch.zeros(len(query), dtype=torch.int64)
    if len(query) and len(points):
        order, ranges, trees = _plan(query, points, query_begin, query_end, begin, end, fewest=256, leaf=BALL_LEAF)
        run_ranges(
            _ball_query,
            len(query),
            query.numpy(),
            order,
            *ranges,
            *trees,
            limit.numpy(),
            rows.numpy(),
            counts.numpy(),
            grain=64,
        )
    return rows, counts


def _plan(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, fewest: int, leaf: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], Trees]:
    """Order of the queries, their ranges and trees of the clouds; clouds below `fewest` points or with few queries get a single leaf."""
    asked = (query_begin.numpy(), query_end.numpy())
    counts = (end - begin).numpy()
    many = (counts > fewest) & (asked[1] - asked[0] > 32)
    trees = build_trees(points.numpy(), begin.numpy(), end.numpy(), np.where(many, depth_for(counts, leaf), 0))
    if query.data_ptr() == points.data_ptr() and query.shape == points.shape and torch.equal(query_begin, begin):
        order = trees.rows
    elif not len(counts) or counts.max() < CACHED:
        order = np.arange(len(query))
    else:
        order = query_order(query.numpy(), *asked, trees)
    return order, asked, trees


@njit(nogil=True, cache=True)
def _knn(query, order, query_begin, query_end, x, y, z, rows, boxes, spans, root, depth, found, distances, first, last):
    """Depth-first search, the nearer child first; a list of the k best so far by (distance, row) cuts the rest."""
    k = found.shape[1]
    squared = np.empty(BLOCK, query.dtype)
    best, index = np.empty(k + 1, query.dtype), np.empty(k + 1, np.int64)
    waiting, bound = np.empty(64, np.int64), np.empty(64, query.dtype)
    for b in range(len(root)):
        leaves = root[b] + (1 << depth[b]) - 1
        for place in range(max(first, query_begin[b]), min(last, query_end[b])):
            q = order[place]
            qx, qy, qz = query[q, 0], query[q, 1], query[q, 2]
            best[:] = np.inf
            best[0] = -1
            index[:] = NO_ROW
            waiting[0], bound[0] = root[b], 0
            top = 1
            while top:
                top -= 1
                node, nearest = waiting[top], bound[top]
                while nearest < best[k] or (nearest == best[k] and spans[node, 2] < index[k]):
                    if node >= leaves:
                        _scan(x, y, z, rows, spans[node, 0], spans[node, 1], qx, qy, qz, squared, best, index)
                        break
                    child = 2 * node - root[b] + 1
                    left, right = box_distance(boxes, child, qx, qy, qz), box_distance(boxes, child + 1, qx, qy, qz)
                    if left < right or (left == right and spans[child, 2] < spans[child + 1, 2]):
                        waiting[top], bound[top] = child + 1, right
                        node, nearest = child, left
                    else:
                        waiting[top], bound[top] = child, left
                        node, nearest = child + 1, right
                    top += 1
            for j in range(k):
                if index[j + 1] != NO_ROW:
                    found[q, j], distances[q, j] = index[j + 1], best[j + 1]


@njit(nogil=True, cache=True)
def _scan(x, y, z, rows, first, last, qx, qy, qz, squared, best, index):
    """Insert the points [first, last) into the sorted list, which begins after an entry that stops the search for a place."""
    one, end = np.uint64(1), np.uint64(len(best) - 1)
    worst = best[end]
    for block in range(first, last, BLOCK):
        count = min(BLOCK, last - block)
        offset = np.uint64(block)
        squared_distances(x, y, z, offset, np.uint64(count), qx, qy, qz, squared)
        for i in range(np.uint64(count)):
            value = squared[i]
            if value > worst:
                continue
            row, place = rows[offset + i], end
            if value == worst and row > index[end]:
                continue
            while best[place - one] > value:
                best[place], index[place] = best[place - one], index[place - one]
                place -= one
            while best[place - one] == value and index[place - one] > row:
                index[place] = index[place - one]
                best[place] = value
                place -= one
            best[place], index[place] = value, row
            worst = best[end]


@njit(nogil=True, cache=True)
def _ball_query(
    query, order, query_begin, query_end, x, y, z, rows, boxes, spans, root, depth, limit, found, counts, first, last
):
    """Depth-first search, the child with the lower row first, so that later nodes hold only rows above the k lowest so far."""
    one, two = np.uint64(1), np.uint64(2)  # unsigned indices need no check for being negative
    last_place = found.shape[1] - 1
    squared = np.empty(BLOCK, query.dtype)
    waiting = np.empty(64, np.uint64)
    for b in range(len(root)):
        base = np.uint64(root[b])
        leaves = base + np.uint64((1 << depth[b]) - 1)
        in_order = depth[b] == 0
        for place in range(np.uint64(max(first, query_begin[b])), np.uint64(min(last, query_end[b]))):
            q = np.uint64(order[place])
            qx, qy, qz = query[q, 0], query[q, 1], query[q, 2]
            lowest = found[q]
            count = 0
            waiting[0] = base
            top = one
            while top:
                top -= one
                node = waiting[top]
                is_full = count > last_place and spans[node, 2] > lowest[last_place]
                if is_full or box_distance(boxes, node, qx, qy, qz) >= limit[0]:
                    continue
                if node < leaves:
                    child = two * node - base + one
                    other = child + one
                    if spans[other, 2] < spans[child, 2]:
                        child, other = other, child
                    waiting[top], waiting[top + one] = other, child
                    top += two
                    continue
                begin, end = np.uint64(spans[node, 0]), np.uint64(spans[node, 1])
                count = _collect(x, y, z, rows, begin, end, qx, qy, qz, limit[0], squared, lowest, count, in_order)
            counts[q] = count


@njit(nogil=True, cache=True)
def _collect(x, y, z, rows, first, last, qx, qy, qz, limit, squared, lowest, count, in_order):
    """Insert the rows of the points [first, last) in the ball into the sorted list; returns its length."""
    k, block = len(lowest), np.uint64(BLOCK)
    while first < last:
        size = min(block, last - first)
        squared_distances(x, y, z, first, size, qx, qy, qz, squared)
        for i in range(size):
            if squared[i] < limit:
                row = rows[first + i]
                if count == k and row > lowest[k - 1]:
                    continue
                place = min(count, k - 1)
                while place > 0 and lowest[place - 1] > row:
                    lowest[place] = lowest[place - 1]
                    place -= 1
                lowest[place] = row
                count = min(count + 1, k)
        if in_order and count == k:
            break
        first += block
    return count
