"""Nearest neighbours among float32 points: distance and row as one integer, so that one comparison orders both.

The bits of a float that is not negative, read as an integer, are ordered as the floats are. The list of the lowest keys is descending,
which lets an insertion be vectorised. Index arithmetic is unsigned: signed indices would each be checked for being negative.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geo3d.ops.cpu.tree import BLOCK, box_distance, squared_distances

HIGHEST = np.int64(2**63 - 1)
MAX_ROWS = 2**31
SHIFT = np.int64(32)


@njit(nogil=True, cache=True)
def knn_packed(query, order, query_begin, query_end, x, y, z, rows, boxes, spans, root, depth, found, distances, first, last):
    """Neighbors by depth-first search, the nearer child first; distance and row are one key, the k lowest keys so far cut the rest."""
    k = found.shape[1]
    squared = np.empty(BLOCK, np.float32)
    bits = squared.view(np.int32)
    best = np.empty(k + 1, np.int64)
    best[k] = -1
    waiting, bound = np.empty(64, np.uint64), np.empty(64, np.int64)
    near = np.empty(2, np.float32)
    near_bits = near.view(np.int32)
    best_distance = np.empty(1, np.float32)
    best_bits = best_distance.view(np.int32)
    one, two = np.uint64(1), np.uint64(2)
    for b in range(len(root)):
        base = np.uint64(root[b])
        leaves = base + np.uint64((1 << depth[b]) - 1)
        for place in range(np.uint64(max(first, query_begin[b])), np.uint64(min(last, query_end[b]))):
            q = np.uint64(order[place])
            qx, qy, qz = query[q, 0], query[q, 1], query[q, 2]
            best[:k] = HIGHEST
            waiting[0], bound[0] = base, 0
            top = one
            while top:
                top -= one
                node, nearest = waiting[top], bound[top]
                while nearest < best[0]:
                    if node >= leaves:
                        _scan(
                            x, y, z, rows, np.uint64(spans[node, 0]), np.uint64(spans[node, 1]), qx, qy, qz, squared, bits, best
                        )
                        break
                    child = two * node - base + one
                    other = child + one
                    near[0], near[1] = box_distance(boxes, child, qx, qy, qz), box_distance(boxes, other, qx, qy, qz)
                    left = (np.int64(near_bits[0]) << SHIFT) | spans[child, 2]
                    right = (np.int64(near_bits[1]) << SHIFT) | spans[other, 2]
                    if left < right:
                        waiting[top], bound[top] = other, right
                        node, nearest = child, left
                    else:
                        waiting[top], bound[top] = child, left
                        node, nearest = other, right
                    top += one
            for j in range(k):
                key = best[k - 1 - j]
                best_bits[0] = np.int32(key >> SHIFT)
                is_found = key != HIGHEST
                found[q, j] = key & (MAX_ROWS - 1) if is_found else -1
                distances[q, j] = best_distance[0] if is_found else np.float32(np.inf)


@njit(nogil=True, cache=True)
def _scan(x, y, z, rows, first, last, qx, qy, qz, squared, bits, best):
    """Bring the keys of the points [first, last) into the list."""
    block = np.uint64(BLOCK)
    worst = best[0]
    far = np.int32(worst >> SHIFT)
    while first < last:
        count = min(block, last - first)
        squared_distances(x, y, z, first, count, qx, qy, qz, squared)
        for i in range(count):
            if bits[i] <= far:
                key = (np.int64(bits[i]) << SHIFT) | rows[first + i]
                if key < worst:
                    _replace_worst(best, key)
                    worst = best[0]
                    far = np.int32(worst >> SHIFT)
        first += block


@njit(nogil=True, cache=True)
def _replace_worst(best, key):
    """Drop the first of a descending list and put a key to its place; without branches, so that it is vectorised."""
    one = np.uint64(1)
    for j in range(np.uint64(len(best)) - one):
        best[j] = max(best[j + one], min(key, best[j]))
