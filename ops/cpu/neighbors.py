"""Nearest neighbours on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges


def knn(
    query: Tensor, points: Tensor, query_begin: Tensor, query_end: Tensor, begin: Tensor, end: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """As `geo3d.ops.reference.neighbors.knn`."""
    rows = torch.full((len(query), k), -1, dtype=torch.int64)
    distances = torch.full((len(query), k), float("inf"), dtype=query.dtype)
    coordinates = points.t().contiguous().numpy()  # [3, R]: the inner loop reads each coordinate in a row
    for b in range(len(begin)):
        asked = slice(int(query_begin[b]), int(query_end[b]))
        cloud = coordinates[:, int(begin[b]) : int(end[b])]
        grain = max(1, 100_000 // max(cloud.shape[1], 1))
        run_ranges(
            _knn_all_pairs,
            asked.stop - asked.start,
            query.numpy()[asked],
            cloud,
            int(begin[b]),
            rows.numpy()[asked],
            distances.numpy()[asked],
            grain=grain,
        )
    return rows, distances


@njit(nogil=True, cache=True)
def _knn_all_pairs(query, cloud, first_row, rows, distances, first, last):
    """Every distance of a query, then those below the k-th so far are inserted into its sorted list."""
    count, k = cloud.shape[1], rows.shape[1]
    x, y, z = cloud[0], cloud[1], cloud[2]
    squared = np.empty(count, query.dtype)
    for q in range(first, last):
        qx, qy, qz = query[q, 0], query[q, 1], query[q, 2]
        for i in range(count):
            dx, dy, dz = qx - x[i], qy - y[i], qz - z[i]
            squared[i] = dx * dx + dy * dy + dz * dz
        best, index = distances[q], rows[q]
        filled = 0
        for i in range(count):
            value = squared[i]
            if filled == k and value >= best[k - 1]:
                continue
            place = filled if filled < k else k - 1
            while place > 0 and best[place - 1] > value:
                best[place] = best[place - 1]
                index[place] = index[place - 1]
                place -= 1
            best[place] = value
            index[place] = first_row + i
            filled = min(filled + 1, k)
