"""Rotated boxes on the CPU: only pairs whose upright bounds meet are looked at, found along sorted x or in a grid."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.threads import run_ranges
from geo3d.ops.reference.boxes import rectangles

X, Y, HALF_X, HALF_Y, COS, SIN, REACH_X, REACH_Y, Z, HALF_Z = range(10)  # columns of `rectangles`
MAX_CELLS_PER_AXIS = 256


def box_iou(a: Tensor, b: Tensor, volume: bool) -> Tensor:
    """a [N, 7], b [M, 7] -> [N, M].

    Writes zeros and then visits, for each row, the columns near in x.
    """
    iou = torch.zeros((len(a), len(b)), dtype=torch.float64 if a.dtype == torch.float64 else torch.float32)
    if iou.numel() == 0:
        return iou
    columns = rectangles(b)
    order = columns[:, X].argsort()
    run_ranges(_box_iou, len(a), rectangles(a).numpy(), columns[order].numpy(), order.numpy(), volume, iou.numpy(), grain=16)
    return iou


def nms_rotated(boxes: Tensor, group: Tensor, threshold: float) -> Tensor:
    """boxes [N, 7] and group [N], sorted by group and then from the best -> [N] bool, True where the box is kept.

    One thread a group, each kept box looks for worse ones near in y and x.

    Centres lie in bands of y as high as the highest footprint, so neighbours are in three bands or so, sorted by x in each.
    """
    keep = torch.ones(len(boxes), dtype=torch.bool)
    if len(boxes) == 0:
        return keep
    table = rectangles(boxes)
    groups, sizes = group.unique_consecutive(return_counts=True)
    begins = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
    low, high = (float(bound) for bound in torch.aminmax(table[:, Y]))
    most = len(boxes) // len(groups) + 1  # bands of each group, so that all of them are about as many as boxes
    height = max(2 * float(table[:, REACH_Y].max()), (high - low) / most, 1e-6)
    bands = int((high - low) / height) + 1
    widest = float(table[:, REACH_X].max())
    key = torch.arange(len(groups)).repeat_interleave(sizes) * bands + ((table[:, Y] - low) / height).long()
    by_x = table[:, X].argsort()
    by_x = by_x[key[by_x].sort(stable=True).indices]
    starts = torch.searchsorted(key[by_x], torch.arange(len(groups) * bands + 1))
    sweep = table[:, [X, Y, REACH_X, REACH_Y]][by_x].t().contiguous()
    arguments = (table, begins, by_x, sweep, starts, keep)
    run_ranges(_suppress, len(groups), *(a.numpy() for a in arguments), low, height, widest, bands, threshold)
    return keep


def points_in_boxes(points: Tensor, boxes: Tensor, point_batch: Tensor, box_batch: Tensor) -> tuple[Tensor, Tensor]:
    """points [N, 3], boxes [M, 7], batch entries [N], [M] -> first box of each point [N] or -1, number of points in each box [M].

    A grid lists the boxes over each cell.
    """
    first = torch.full((len(points),), -1, dtype=torch.int64)
    if len(points) == 0 or len(boxes) == 0:
        return first, torch.zeros(len(boxes), dtype=torch.int64)
    table = rectangles(boxes).numpy()
    entry_of, entry = np.unique(box_batch.numpy(), return_inverse=True)  # batch entries that have boxes
    grid, cells = _grid_over(table, len(entry_of))
    starts, listed = _list_boxes(table, entry, grid, cells, len(entry_of))
    parts = max(1, min(torch.get_num_threads(), len(points) // 4096))
    counts = np.zeros((parts, len(boxes)), np.int64)  # a row per thread
    if points.dtype not in (torch.float32, torch.float64):
        points = points.float()
    arguments = (points.numpy(), point_batch.numpy(), table, entry_of, grid, cells, starts, listed, first.numpy(), counts)
    run_ranges(_find_boxes, parts, *arguments)
    return first, torch.from_numpy(counts.sum(0))


def _grid_over(table: np.ndarray, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower corner and cell size (x, y) of a grid over all footprints, and its cells per axis (x, y).

    Cells are no smaller than the root mean square half extent, so the lists hold a few entries a box, however unlike the boxes are.
    """
    center, reach = table[:, [X, Y]], table[:, [REACH_X, REACH_Y]]
    reach = reach + 1e-9 * (1 + np.abs(center) + reach)  # rounding must not take a face out of the grid
    low, high = (center - reach).min(0), (center + reach).max(0)
    per_axis = min(MAX_CELLS_PER_AXIS, 4 * math.isqrt(len(table) // entries) + 1)
    size = np.maximum((high - low) / per_axis, np.sqrt(np.square(reach).mean(0)))
    cells = ((high - low) / size).astype(np.int64) + 1
    return np.concatenate((low, size)), cells


@njit(nogil=True, cache=True, inline="always")
def _clamp(value, half):
    return min(max(value, -half), half)


@njit(nogil=True, cache=True, inline="always")
def _fraction(numerator, denominator, otherwise):
    return min(max(numerator / denominator, 0.0), 1.0) if denominator != 0 else otherwise


@njit(nogil=True, cache=True)
def _area_under_edge(x0, y0, x1, y1, half_x, half_y):
    left, right = _clamp(x0, half_x), _clamp(x1, half_x)
    if left == right:
        return 0.0
    dx, dy = x1 - x0, y1 - y0
    start, stop = y0 + dy * _fraction(left - x0, dx, 0.0), y0 + dy * _fraction(right - x0, dx, 1.0)
    rise = stop - start
    low, high = _fraction(-half_y - start, rise, 0.0), _fraction(half_y - start, rise, 1.0)
    both = low + high
    return (right - left) * (both * _clamp(start, half_y) + (2 - both) * _clamp(stop, half_y)) / 2


@njit(nogil=True, cache=True)
def _overlap_area(a, b, least):
    """The reference's `overlap_area` of two rows; 0 if the bounds of one along the other's sides show that it is below `least`."""
    dx, dy = b[X] - a[X], b[Y] - a[Y]
    x, y = dx * a[COS] + dy * a[SIN], dy * a[COS] - dx * a[SIN]
    cos, sin = a[COS] * b[COS] + a[SIN] * b[SIN], a[COS] * b[SIN] - a[SIN] * b[COS]
    ux, uy, vx, vy = b[HALF_X] * cos, b[HALF_X] * sin, -b[HALF_Y] * sin, b[HALF_Y] * cos
    along = a[HALF_X] + abs(ux) + abs(vx) - abs(x)
    across = a[HALF_Y] + abs(uy) + abs(vy) - abs(y)
    if along <= 0 or across <= 0 or min(along, 2 * a[HALF_X]) * min(across, 2 * a[HALF_Y]) < least:
        return 0.0
    along = b[HALF_X] + a[HALF_X] * abs(cos) + a[HALF_Y] * abs(sin) - abs(dx * b[COS] + dy * b[SIN])
    across = b[HALF_Y] + a[HALF_X] * abs(sin) + a[HALF_Y] * abs(cos) - abs(dy * b[COS] - dx * b[SIN])
    if along <= 0 or across <= 0 or min(along, 2 * b[HALF_X]) * min(across, 2 * b[HALF_Y]) < least:
        return 0.0
    area = 0.0
    x0, y0 = x + ux + vx, y + uy + vy
    for k in range(4):
        u = 1.0 if k >= 2 else -1.0
        v = -1.0 if k == 1 or k == 2 else 1.0
        x1, y1 = x + u * ux + v * vx, y + u * uy + v * vy
        area -= _area_under_edge(x0, y0, x1, y1, a[HALF_X], a[HALF_Y])
        x0, y0 = x1, y1
    return max(area, 0.0)


@njit(nogil=True, cache=True, inline="always")
def _first_at_least(values, begin, end, wanted):
    while begin < end:
        middle = (begin + end) >> 1
        if values[middle] < wanted:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(nogil=True, cache=True)
def _box_iou(rows, columns, order, volume, iou, first, last):
    """`columns` are sorted by x; column k of them is column order[k] of the result."""
    xs, ys = columns[:, X].copy(), columns[:, Y].copy()
    reach_x, reach_y = columns[:, REACH_X].copy(), columns[:, REACH_Y].copy()
    widest = 0.0
    for reach in reach_x:
        widest = max(widest, reach)
    for i in range(first, last):
        a = rows[i]
        size_a = 4 * a[HALF_X] * a[HALF_Y]
        limit = a[X] + a[REACH_X] + widest
        for k in range(_first_at_least(xs, 0, len(xs), a[X] - a[REACH_X] - widest), len(xs)):
            if xs[k] > limit:
                break
            if abs(xs[k] - a[X]) > a[REACH_X] + reach_x[k] or abs(ys[k] - a[Y]) > a[REACH_Y] + reach_y[k]:
                continue
            b = columns[k]
            shared = _overlap_area(a, b, 0.0)
            total = size_a + 4 * b[HALF_X] * b[HALF_Y]
            if volume:
                rise = b[Z] - a[Z]
                shared *= max(min(a[HALF_Z], rise + b[HALF_Z]) - max(-a[HALF_Z], rise - b[HALF_Z]), 0.0)
                total = size_a * 2 * a[HALF_Z] + 8 * b[HALF_X] * b[HALF_Y] * b[HALF_Z]
            if shared > 0:
                iou[i, order[k]] = shared / (total - shared)


@njit(nogil=True, cache=True)
def _suppress(table, begins, by_x, sweep, starts, keep, low, height, widest, bands, threshold, first_group, last_group):
    """Rows begins[g]..begins[g + 1] of `table` are group g from the best; starts[g * bands + band].. of `sweep` a band along x."""
    for g in range(first_group, last_group):
        for i in range(begins[g], begins[g + 1]):
            if not keep[i]:
                continue
            row = (table[i, Y] - low) / height
            wide = table[i, REACH_Y] / height + 0.500001  # the others reach half a band at most
            for band in range(max(int(row - wide), 0), min(int(row + wide), bands - 1) + 1):
                begin, end = starts[g * bands + band], starts[g * bands + band + 1]
                _suppress_along_x(table, i, by_x, sweep, begin, end, widest, threshold, keep)


@njit(nogil=True, cache=True)
def _suppress_along_x(table, i, by_x, sweep, begin, end, widest, threshold, keep):
    """Remove the boxes worse than i that it overlaps among begin..end of `sweep`."""
    xs, ys, reach_x, reach_y = sweep[0], sweep[1], sweep[2], sweep[3]
    a = table[i]
    x, y, own_x, own_y = a[X], a[Y], a[REACH_X], a[REACH_Y]
    for k in range(_first_at_least(xs, begin, end, x - own_x - widest), end):
        if xs[k] > x + own_x + widest:
            break
        if abs(ys[k] - y) >= own_y + reach_y[k] or abs(xs[k] - x) >= own_x + reach_x[k]:
            continue
        j = by_x[k]
        if j <= i or not keep[j]:
            continue
        b = table[j]
        total = 4 * (a[HALF_X] * a[HALF_Y] + b[HALF_X] * b[HALF_Y])
        shared = _overlap_area(a, b, threshold * total / (1 + threshold) * 0.999999)
        if shared > 0 and shared / (total - shared) > threshold:
            keep[j] = False


@njit(nogil=True, cache=True)
def _cell_range(row, grid, cells):
    """First and last cell along x and y under the bounds of a footprint, with a margin for rounding."""
    reach_x = row[REACH_X] + 1e-9 * (1 + abs(row[X]) + row[REACH_X])
    reach_y = row[REACH_Y] + 1e-9 * (1 + abs(row[Y]) + row[REACH_Y])
    x0 = min(max(int((row[X] - reach_x - grid[0]) / grid[2]), 0), cells[0] - 1)
    x1 = min(max(int((row[X] + reach_x - grid[0]) / grid[2]), 0), cells[0] - 1)
    y0 = min(max(int((row[Y] - reach_y - grid[1]) / grid[3]), 0), cells[1] - 1)
    y1 = min(max(int((row[Y] + reach_y - grid[1]) / grid[3]), 0), cells[1] - 1)
    return x0, x1, y0, y1


@njit(nogil=True, cache=True)
def _list_boxes(table, entry, grid, cells, entries):
    """The boxes over cell c of entry e are listed[starts[k]:starts[k + 1]], ascending, k = (e * cells x + cx) * cells y + cy."""
    starts = np.zeros(entries * cells[0] * cells[1] + 1, np.int64)
    for turn in range(2):
        listed = np.empty(starts[-1], np.int64)
        for i in range(len(table)):
            x0, x1, y0, y1 = _cell_range(table[i], grid, cells)
            for cx in range(x0, x1 + 1):
                for cy in range(y0, y1 + 1):
                    k = (entry[i] * cells[0] + cx) * cells[1] + cy
                    if turn:
                        listed[starts[k]] = i
                    starts[k + 1 - turn] += 1
        if not turn:
            for k in range(1, len(starts)):
                starts[k] += starts[k - 1]
    for k in range(len(starts) - 1, 0, -1):  # the second turn moved each start to its end
        starts[k] = starts[k - 1]
    starts[0] = 0
    return starts, listed


@njit(nogil=True, cache=True)
def _find_boxes(points, point_batch, table, entry_of, grid, cells, starts, listed, first, counts, first_part, last_part):
    parts, total = len(counts), len(points)
    low_x, low_y, per_x, per_y = grid[0], grid[1], 1 / grid[2], 1 / grid[3]
    cells_x, cells_y = cells[0], cells[1]
    for part in range(first_part, last_part):
        entry = 0
        for i in range(total * part // parts, total * (part + 1) // parts):
            if point_batch[i] != entry_of[entry]:
                entry = min(_first_at_least(entry_of, 0, len(entry_of), point_batch[i]), len(entry_of) - 1)
            x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
            cell_x, cell_y = (x - low_x) * per_x, (y - low_y) * per_y
            if point_batch[i] != entry_of[entry] or not (0 <= cell_x < cells_x and 0 <= cell_y < cells_y):
                continue
            k = (entry * cells_x + int(cell_x)) * cells_y + int(cell_y)
            for at in range(starts[k], starts[k + 1]):
                box = listed[at]
                dx, dy = x - table[box, X], y - table[box, Y]
                if abs(z - table[box, Z]) > table[box, HALF_Z]:
                    continue
                if abs(dx * table[box, COS] + dy * table[box, SIN]) > table[box, HALF_X]:
                    continue
                if abs(dy * table[box, COS] - dx * table[box, SIN]) > table[box, HALF_Y]:
                    continue
                if first[i] < 0:
                    first[i] = box
                counts[part, box] += 1
