"""Balanced k-d trees over the points of each cloud, for the CPU kernels that search neighbours or sample points.

A cloud's tree has 2**depth leaves of nearly equal size; the points of a leaf lie side by side. Nodes are numbered level by level, the
children of node n of a cloud are 2n + 1 and 2n + 2. Halves are cut at the median of the widest coordinate, and equal coordinates by row, so
no arrangement of the points (outliers, lines, copies) makes a leaf large. Index arithmetic is unsigned where a loop should be vectorised.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from geo3d.ops.cpu.threads import run_ranges

BLOCK = 64  # points whose distances are taken at a time
LARGE, SHARED_LEVELS = 20_000, 3  # points of a cloud whose tree several threads build, each below a node of this level


class Trees(NamedTuple):
    """One tree for each cloud.

    Attributes:
        x, y, z: [R] coordinates in tree order.
        rows: [R] int64, the row of each point in tree order.
        boxes: [nodes, 6] smallest and largest x, y, z of the points of each node.
        spans: [nodes, 3] int64, the node's points [first, last) in tree order, and its lowest row.
        root: [B] int64 first node of each cloud.
        depth: [B] int64 levels below the root of each cloud.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    rows: np.ndarray
    boxes: np.ndarray
    spans: np.ndarray
    root: np.ndarray
    depth: np.ndarray


def build_trees(points: np.ndarray, begin: np.ndarray, end: np.ndarray, depth: np.ndarray) -> Trees:
    """Trees of the given depths over points [R, 3], cloud b in rows begin[b]..end[b]; depth 0 keeps the order of the points."""
    x, y, z = np.ascontiguousarray(points.T)
    nodes = (2 << depth) - 1
    root = np.cumsum(nodes) - nodes
    boxes = np.empty((int(nodes.sum()), 6), points.dtype)
    trees = Trees(x, y, z, np.arange(len(points)), boxes, np.empty((len(boxes), 3), np.int64), root, depth)
    levels = 0
    if 0 < len(begin) < torch.get_num_threads() and (end - begin).max() > LARGE:
        levels = min(SHARED_LEVELS, int(depth.min()))
    trees.spans[root, 0], trees.spans[root, 1] = begin, end
    if levels:
        _build(levels, 0, *trees, 0, len(begin))
    run_ranges(_build, len(begin) << levels, depth.max(initial=0) + 1, levels, *trees)
    return trees


def depth_for(counts: np.ndarray, leaf: int) -> np.ndarray:
    """Levels at which leaves hold at most `leaf` points."""
    leaves = np.maximum(-(-counts // leaf), 1)
    return np.ceil(np.log2(leaves)).astype(np.int64)


@njit(nogil=True, cache=True)
def _build(stop, start, x, y, z, rows, boxes, spans, root, depth, first_part, last_part):
    """Measure and cut the nodes of levels start to stop, those below the node of level `start` that is a part of a cloud."""
    for part in range(first_part, last_part):
        b, number = part >> start, part & ((1 << start) - 1)
        for level in range(start, min(stop, depth[b] + 1)):
            below = 1 << (level - start)
            for n in range((1 << level) - 1 + number * below, (1 << level) - 1 + (number + 1) * below):
                node = root[b] + n
                first, last = spans[node, 0], spans[node, 1]
                _measure(x, y, z, rows, first, last, boxes[node], spans[node])
                if level < depth[b]:
                    middle = (first + last) // 2
                    extent = boxes[node, 3:] - boxes[node, :3]
                    key = x if extent[0] >= max(extent[1], extent[2]) else (y if extent[1] >= extent[2] else z)
                    _select(key, x, y, z, rows, first, last, middle)
                    left = root[b] + 2 * n + 1
                    spans[left, 0], spans[left, 1] = first, middle
                    spans[left + 1, 0], spans[left + 1, 1] = middle, last


@njit(nogil=True, cache=True)
def _measure(x, y, z, rows, first, last, box, span):
    """Bounds and lowest row of the points [first, last)."""
    span[2] = np.iinfo(np.int64).max
    box[:3], box[3:] = np.inf, -np.inf
    for i in range(first, last):
        box[0], box[3] = min(box[0], x[i]), max(box[3], x[i])
        box[1], box[4] = min(box[1], y[i]), max(box[4], y[i])
        box[2], box[5] = min(box[2], z[i]), max(box[5], z[i])
        span[2] = min(span[2], rows[i])


@njit(nogil=True, cache=True)
def _select(key, x, y, z, rows, first, last, middle):
    """Quickselect by (key, row): afterwards no point of [first, middle) comes after one of [middle, last)."""
    seed = 1
    last -= 1
    while first < last:
        seed = (
            seed * 1103515245 + 12345
        ) & 0x7FFFFFFF  # a fixed place meets its worst case in scans, whose coordinates rise and fall
        place = first + seed % (last - first + 1)
        pivot, row = key[place], rows[place]
        i, j = first, last
        while i <= j:
            while key[i] < pivot or (key[i] == pivot and rows[i] < row):
                i += 1
            while key[j] > pivot or (key[j] == pivot and rows[j] > row):
                j -= 1
            if i <= j:
                x[i], x[j] = x[j], x[i]
                y[i], y[j] = y[j], y[i]
                z[i], z[j] = z[j], z[i]
                rows[i], rows[j] = rows[j], rows[i]
                i += 1
                j -= 1
        if middle <= j:
            last = j
        elif middle >= i:
            first = i
        else:
            return


@njit(nogil=True, cache=True, inline="always")
def box_distance(boxes, node, px, py, pz):
    """Squared distance from a point to a box; never more than the distance to a point in it, rounding included."""
    zero = boxes.dtype.type(0)
    dx = max(max(boxes[node, 0] - px, px - boxes[node, 3]), zero)
    dy = max(max(boxes[node, 1] - py, py - boxes[node, 4]), zero)
    dz = max(max(boxes[node, 2] - pz, pz - boxes[node, 5]), zero)
    return dx * dx + dy * dy + dz * dz


@njit(nogil=True, cache=True, inline="always")
def squared_distances(x, y, z, first, count, px, py, pz, squared):
    """Squared distances from a point to the points [first, first + count), both uint64."""
    for i in range(count):
        dx, dy, dz = px - x[first + i], py - y[first + i], pz - z[first + i]
        squared[i] = dx * dx + dy * dy + dz * dz


def query_order(query: np.ndarray, query_begin: np.ndarray, query_end: np.ndarray, trees: Trees) -> np.ndarray:
    """[Q] rows of the queries, those of a cloud in the order of the leaves that they fall in, so that neighbours are still in the cache."""
    order = np.empty(len(query), np.int64)
    leaves = np.zeros(len(query), np.int64)
    run_ranges(_leaf_order, len(query_begin), query, query_begin, query_end, *trees, leaves, order)
    return order


@njit(nogil=True, cache=True)
def _leaf_order(query, begin, end, x, y, z, rows, boxes, spans, root, depth, leaves, order, first_cloud, last_cloud):
    for b in range(first_cloud, last_cloud):
        for q in range(begin[b], end[b]):
            node = 0
            for _ in range(depth[b]):
                left = box_distance(boxes, root[b] + 2 * node + 1, query[q, 0], query[q, 1], query[q, 2])
                right = box_distance(boxes, root[b] + 2 * node + 2, query[q, 0], query[q, 1], query[q, 2])
                node = 2 * node + (1 if left <= right else 2)
            leaves[q] = node - ((1 << depth[b]) - 1)
        free = np.zeros((1 << depth[b]) + 1, np.int64)
        for q in range(begin[b], end[b]):
            free[leaves[q] + 1] += 1
        free = begin[b] + np.cumsum(free)
        for q in range(begin[b], end[b]):
            order[free[leaves[q]]] = q
            free[leaves[q]] += 1
