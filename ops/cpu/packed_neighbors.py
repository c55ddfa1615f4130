"""Nearest neighbours among float32 points: distance and row as one integer, so that one comparison orders both.

The bits of a float that is not negative, read as an integer, are ordered as the floats are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geo3d.ops.cpu.tree import BLOCK, box_distance, squared_distances

HIGHEST = np.uint64(2**64 - 1)
MAX_ROWS = 2**32
SHIFT = np.uint64(32)
MERGED = 40  # neighbours from which merging a leaf's keys is faster than inserting them one by one


@njit(nogil=True, cache=True)
def knn_packed(query, order, query_begin, query_end, x, y, z, rows, boxes, spans, root, depth, found, distances, first, last):
    """As `_knn` of `geo3d.ops.cpu.neighbors`: depth-first search, the nearer child first; the k lowest keys so far cut the rest."""
    k = found.shape[1]
    squared = np.empty(BLOCK, np.float32)
    keys = np.empty(BLOCK + 1, np.uint64)
    keys[0] = 0
    best = np.empty(k + 1, np.uint64)
    waiting, bound = np.empty(64, np.int64), np.empty(64, np.uint64)
    near = np.empty(2, np.float32)
    near_bits = near.view(np.uint32)
    best_distance = np.empty(1, np.float32)
    best_bits = best_distance.view(np.uint32)
    for b in range(len(root)):
        leaves = root[b] + (1 << depth[b]) - 1
        for place in range(max(first, query_begin[b]), min(last, query_end[b])):
            q = order[place]
            qx, qy, qz = query[q, 0], query[q, 1], query[q, 2]
            best[:] = HIGHEST
            best[0] = 0  # stops the search for a place
            waiting[0], bound[0] = root[b], 0
            top = 1
            while top:
                top -= 1
                node, nearest = waiting[top], bound[top]
                while nearest < best[k]:
                    if node >= leaves:
                        _scan(x, y, z, rows, spans[node, 0], spans[node, 1], qx, qy, qz, squared, keys, best)
                        break
                    child = 2 * node - root[b] + 1
                    near[0], near[1] = box_distance(boxes, child, qx, qy, qz), box_distance(boxes, child + 1, qx, qy, qz)
                    left = (np.uint64(near_bits[0]) << SHIFT) | np.uint64(spans[child, 2])
                    right = (np.uint64(near_bits[1]) << SHIFT) | np.uint64(spans[child + 1, 2])
                    if left < right:
                        waiting[top], bound[top] = child + 1, right
                        node, nearest = child, left
                    else:
                        waiting[top], bound[top] = child, left
                        node, nearest = child + 1, right
                    top += 1
            for j in range(k):
                key = best[j + 1]
                if key != HIGHEST:
                    best_bits[0] = np.uint32(key >> SHIFT)
                    found[q, j], distances[q, j] = key & np.uint64(MAX_ROWS - 1), best_distance[0]


@njit(nogil=True, cache=True)
def _scan(x, y, z, rows, first, last, qx, qy, qz, squared, keys, best):
    """Bring the keys of the points [first, last) into the sorted list."""
    end = np.uint64(len(best) - 1)
    bits = squared.view(np.uint32)
    for block in range(first, last, BLOCK):
        count = min(BLOCK, last - block)
        squared_distances(x, y, z, block, count, qx, qy, qz, squared)
        if end > MERGED:
            _merge(best, keys, _sort_below(keys, bits, rows, block, count, best[end]))
        else:
            _insert(best, bits, rows, block, count)


@njit(nogil=True, cache=True)
def _insert(best, bits, rows, block, count):
    """Put each of the points that is near enough to its place."""
    one, end, offset = np.uint64(1), np.uint64(len(best) - 1), np.uint64(block)
    worst = best[end]
    far = np.uint32(worst >> SHIFT)
    for i in range(np.uint64(count)):
        if bits[i] > far:
            continue
        key = (np.uint64(bits[i]) << SHIFT) | np.uint64(rows[offset + i])
        if key < worst:
            place = end
            while best[place - one] > key:
                best[place] = best[place - one]
                place -= one
            best[place] = key
            worst = best[end]
            far = np.uint32(worst >> SHIFT)


@njit(nogil=True, cache=True)
def _sort_below(keys, bits, rows, block, count, worst):
    """Sort the keys of the points that are below the worst into keys[1], keys[2], ...; returns how many they are."""
    one, few, offset = np.uint64(1), np.uint64(0), np.uint64(block)
    far = np.uint32(worst >> SHIFT)
    for i in range(np.uint64(count)):
        if bits[i] > far:
            continue
        key = (np.uint64(bits[i]) << SHIFT) | np.uint64(rows[offset + i])
        if key < worst:
            few += one
            place = few
            while keys[place - one] > key:
                keys[place] = keys[place - one]
                place -= one
            keys[place] = key
    return few


@njit(nogil=True, cache=True)
def _merge(best, keys, few):
    """Keep the lowest of two sorted lists, each after an entry of zero: all of `best`, and `few` of the keys."""
    one, end = np.uint64(1), np.uint64(len(best) - 1)
    high, low = end, few
    for _ in range(few):
        if best[high] > keys[low]:
            high -= one
        else:
            low -= one
    place = end
    while low:
        key, other = keys[low], best[high]
        is_other = other > key
        best[place] = other if is_other else key
        high -= np.uint64(is_other)
        low -= np.uint64(not is_other)
        place -= one
