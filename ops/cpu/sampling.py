"""Farthest point sampling on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges
from geo3d.ops.cpu.tree import build_trees, depth_for

BUCKET = 64  # points of a leaf: with fewer, looking at the boxes costs more than it saves
MIN_POINTS = 512  # points from which on boxes pay


def farthest_point_sample(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, num_samples: int, cuda_ties: bool
) -> Tensor:
    """points [R, 3], cloud b in rows begin[b]..end[b], start [B] -> [B, num_samples] indices within each cloud.

    One thread a cloud.

    The points lie in the leaves of a k-d tree with their distance to the nearest pick. A pick changes only the leaves whose box is closer to
    it than their farthest point is to the picks before (the idea of QuickFPS, Han et al., IEEE TCAD 2023), so the others are not read.
    """
    picks = torch.empty((len(begin), num_samples), dtype=torch.int64)
    counts = (end - begin).numpy()
    depth = np.where((counts >= MIN_POINTS) & (num_samples > 32), depth_for(counts, BUCKET), 0)
    trees = build_trees(points.numpy(), begin.numpy(), end.numpy(), depth)
    nearest = np.full(len(points), np.inf, points.numpy().dtype)
    bits = nearest.view(np.int32 if nearest.itemsize == 4 else np.int64)
    arguments = (
        points.numpy(),
        begin.numpy(),
        end.numpy(),
        start.numpy(),
        cuda_ties,
        nearest,
        bits,
        np.empty_like(bits),
        *trees,
    )
    run_ranges(_farthest_points, len(begin), *arguments, picks.numpy())
    return picks


@njit(nogil=True, cache=True)
def _tie_order(count, cuda_ties):
    """Indices, those that win a tie first: ascending, or in the order of a block reduction."""
    order = np.arange(count)
    if cuda_ties:
        bits = 0
        while 2 << bits <= min(count, 1024):
            bits += 1
        rank = 0
        for reversed_slot in range(1 << bits):
            slot = 0
            for bit in range(bits):
                slot |= ((reversed_slot >> bit) & 1) << (bits - 1 - bit)
            for i in range(slot, count, 1 << bits):
                order[rank] = i
                rank += 1
    return order


@njit(nogil=True, cache=True)
def _update_nearest(x, y, z, first, count, px, py, pz, nearest):
    """Lower the running distances of the points [first, first + count) by the distance to the new pick."""
    offset = np.uint64(first)
    for i in range(np.uint64(count)):
        dx, dy, dz = x[offset + i] - px, y[offset + i] - py, z[offset + i] - pz
        squared = dx * dx + dy * dy + dz * dz
        nearest[offset + i] = squared if squared < nearest[offset + i] else nearest[offset + i]


@njit(nogil=True, cache=True)
def _largest_bits(bits, first, count):
    """Largest of bits[first:first + count]; as integers, floats that are not negative keep their order, and the loop is vectorised."""
    offset = np.uint64(first)
    largest = bits.dtype.type(0)
    for i in range(np.uint64(count)):
        largest = bits[offset + i] if bits[offset + i] > largest else largest
    return largest


@njit(nogil=True, cache=True)
def _farthest_points(
    points,
    begin,
    end,
    start,
    cuda_ties,
    nearest,
    bits,
    ranks,
    x,
    y,
    z,
    rows,
    boxes,
    spans,
    root,
    depth,
    picks,
    first_cloud,
    last_cloud,
):
    for b in range(first_cloud, last_cloud):
        count = end[b] - begin[b]
        if count == 0:
            picks[b] = -1
            continue
        order = _tie_order(count, cuda_ties)
        _rank_points(order, rows[begin[b] : end[b]] - begin[b], ranks[begin[b] : end[b]])
        leaves, leaf = 1 << depth[b], root[b] + (1 << depth[b]) - 1
        box = boxes[leaf : leaf + leaves].T.copy()  # the loop over the boxes reads each bound in a row
        farthest = np.full(leaves, np.inf, points.dtype)
        farthest_bits = farthest.view(bits.dtype)
        changed = np.empty(leaves, np.uint8)
        pick = start[b]
        for s in range(picks.shape[1]):
            picks[b, s] = pick
            px, py, pz = points[begin[b] + pick, 0], points[begin[b] + pick, 1], points[begin[b] + pick, 2]
            _mark_changed(box[0], box[1], box[2], box[3], box[4], box[5], px, py, pz, farthest, changed)
            for n in range(leaves):
                if changed[n]:
                    first, size = spans[leaf + n, 0], spans[leaf + n, 1] - spans[leaf + n, 0]
                    _update_nearest(x, y, z, first, size, px, py, pz, nearest)
                    farthest_bits[n] = _largest_bits(bits, first, size)
            largest = _largest_bits(farthest_bits, 0, leaves)
            pick = start[b]
            if largest == 0:
                continue
            best = count
            for n in range(leaves):
                if farthest_bits[n] == largest:
                    first, size = spans[leaf + n, 0], spans[leaf + n, 1] - spans[leaf + n, 0]
                    best = min(best, _lowest_rank(bits, ranks, first, size, largest))
            if best < count:
                pick = order[best]


@njit(nogil=True, cache=True)
def _rank_points(order, indices, ranks):
    """ranks[i], the place of indices[i] in `order`."""
    place = np.empty(len(order), ranks.dtype)
    for rank in range(len(order)):
        place[order[rank]] = rank
    for i in range(len(indices)):
        ranks[i] = place[indices[i]]


@njit(nogil=True, cache=True)
def _lowest_rank(bits, ranks, first, count, largest):
    """Lowest rank among the points [first, first + count) whose running distance is the largest."""
    offset = np.uint64(first)
    none = ranks.dtype.type(2147483647)
    lowest = none
    for i in range(np.uint64(count)):
        rank = ranks[offset + i] if bits[offset + i] == largest else none
        lowest = rank if rank < lowest else lowest
    return np.int64(lowest)


@njit(nogil=True, cache=True)
def _mark_changed(low_x, low_y, low_z, high_x, high_y, high_z, px, py, pz, farthest, changed):
    """1 where the box is closer to the pick than the leaf's farthest point is to the picks so far."""
    zero = farthest.dtype.type(0)
    for n in range(len(farthest)):
        left, right = low_x[n] - px, px - high_x[n]
        dx = left if left > right else right
        dx = dx if dx > zero else zero
        left, right = low_y[n] - py, py - high_y[n]
        dy = left if left > right else right
        dy = dy if dy > zero else zero
        left, right = low_z[n] - pz, pz - high_z[n]
        dz = left if left > right else right
        dz = dz if dz > zero else zero
        changed[n] = dx * dx + dy * dy + dz * dz < farthest[n]
