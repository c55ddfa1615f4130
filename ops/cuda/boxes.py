"""Rotated boxes in Triton, in float64 and without fused multiply-adds, so that faces and thresholds fall as on the CPU."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import EXACT, on_device_of_tensors
from geo3d.ops.reference.boxes import rectangles

CHUNK = 1024  # boxes that one round of suppression decides
WORD = 32  # boxes in a word of the bit mask


@on_device_of_tensors
def box_iou(a: Tensor, b: Tensor, volume: bool) -> Tensor:
    """a [N, 7], b [M, 7] -> [N, M]."""
    iou = torch.empty((len(a), len(b)), dtype=torch.float64 if a.dtype == torch.float64 else torch.float32, device=a.device)
    if iou.numel() == 0:
        return iou
    rows, columns = _table(a), _table(b)
    grid = (triton.cdiv(len(a), 16) * triton.cdiv(len(b), 32),)  # one axis: the second has 65,535 programs at most
    _box_iou_kernel[grid](rows, columns, iou, len(a), len(b), volume, ROWS=16, COLUMNS=32, num_warps=8, **EXACT)
    return iou


@on_device_of_tensors
def nms_rotated(boxes: Tensor, group: Tensor, threshold: float) -> Tensor:
    """boxes [N, 7] and group [N], sorted by group and then from the best -> [N] bool, True where the box is kept.

    Chunk by chunk from the best, so memory does not grow with N squared.

    A round finds who would suppress whom inside the chunk, goes through the chunk in order, and removes what the boxes that
    stay overlap in later chunks.
    """
    count = len(boxes)
    removed = torch.zeros(count, dtype=torch.int32, device=boxes.device)
    if count == 0:
        return removed == 0
    table = _table(boxes)
    limit = torch.full((1,), threshold, dtype=torch.float64, device=boxes.device)  # a Python float would arrive as float32
    words = triton.cdiv(min(count, CHUNK), WORD)
    hits = torch.empty((min(count, CHUNK), words), dtype=torch.int32, device=boxes.device)
    for begin in range(0, count, CHUNK):
        end = min(begin + CHUNK, count)
        _hits_kernel[(triton.cdiv(end - begin, 16), words)](
            table, group, hits, begin, end, count, limit, words, ROWS=16, WORD=WORD, num_warps=8, **EXACT
        )
        block = triton.next_power_of_2(words)
        _decide_kernel[(1,)](hits, removed, begin, end, words, WORDS=block, WORD=WORD, num_warps=1)
        if end < count:
            _remove_kernel[(triton.cdiv(count - end, WORD),)](
                table, group, removed, begin, end, count, limit, ROWS=16, COLUMNS=WORD, num_warps=8, **EXACT
            )
    return removed == 0


@on_device_of_tensors
def points_in_boxes(points: Tensor, boxes: Tensor, point_batch: Tensor, box_batch: Tensor) -> tuple[Tensor, Tensor]:
    """points [N, 3], boxes [M, 7], batch entries [N], [M] -> first box of each point [N] or -1, number of points in each box [M].

    Counts are sums of integers, so their order does not matter.
    """
    first = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    counts = torch.zeros(len(boxes), dtype=torch.int64, device=points.device)
    if len(points) and len(boxes):
        grid = (triton.cdiv(len(points), 128),)
        coordinates = points.double().contiguous()
        _points_in_boxes_kernel[grid](
            coordinates,
            _table(boxes),
            point_batch.contiguous(),
            box_batch.contiguous(),
            first,
            counts,
            len(points),
            len(boxes),
            POINTS=128,
            BOXES=16,
            num_warps=8,
            **EXACT,
        )
    return first, counts


def _table(boxes: Tensor) -> Tensor:
    """`rectangles` as [10, N]: neighbouring boxes lie side by side."""
    return rectangles(boxes).t().contiguous()


@triton.jit
def _clamp(value, half):
    return tl.maximum(tl.minimum(value, half), -half)


@triton.jit
def _fraction(numerator, denominator, OTHERWISE: tl.constexpr):
    zero = denominator == 0
    return tl.where(zero, OTHERWISE, tl.minimum(tl.maximum(numerator / tl.where(zero, 1.0, denominator), 0.0), 1.0))


@triton.jit
def _area_under_edge(x0, y0, x1, y1, half_x, half_y):
    dx, dy = x1 - x0, y1 - y0
    left, right = _clamp(x0, half_x), _clamp(x1, half_x)
    start, stop = y0 + dy * _fraction(left - x0, dx, 0.0), y0 + dy * _fraction(right - x0, dx, 1.0)
    rise = stop - start
    both = _fraction(-half_y - start, rise, 0.0) + _fraction(half_y - start, rise, 1.0)
    return (right - left) * (both * _clamp(start, half_y) + (2 - both) * _clamp(stop, half_y)) / 2


@triton.jit
def _column(table, column, count, index, inside):
    return tl.load(table + column * count + index, inside, other=0.0)


@triton.jit
def _near(a, i, count_a, in_a, b, j, count_b, in_b):
    """[I, J]: whether the upright bounds of footprints meet; i is [I, 1], j is [1, J]."""
    near_x = tl.abs(_column(b, 0, count_b, j, in_b) - _column(a, 0, count_a, i, in_a)) <= (
        _column(a, 6, count_a, i, in_a) + _column(b, 6, count_b, j, in_b)
    )
    near_y = tl.abs(_column(b, 1, count_b, j, in_b) - _column(a, 1, count_a, i, in_a)) <= (
        _column(a, 7, count_a, i, in_a) + _column(b, 7, count_b, j, in_b)
    )
    return near_x & near_y & in_a & in_b


@triton.jit
def _shared_and_sizes(a, i, count_a, in_a, b, j, count_b, in_b):
    """Area shared by footprints, as the reference's `overlap_area`, and the sum of their areas: [I, J] each."""
    a_half_x, a_half_y = _column(a, 2, count_a, i, in_a), _column(a, 3, count_a, i, in_a)
    b_half_x, b_half_y = _column(b, 2, count_b, j, in_b), _column(b, 3, count_b, j, in_b)
    a_cos, a_sin = _column(a, 4, count_a, i, in_a), _column(a, 5, count_a, i, in_a)
    b_cos, b_sin = _column(b, 4, count_b, j, in_b), _column(b, 5, count_b, j, in_b)
    dx = _column(b, 0, count_b, j, in_b) - _column(a, 0, count_a, i, in_a)
    dy = _column(b, 1, count_b, j, in_b) - _column(a, 1, count_a, i, in_a)
    x, y = dx * a_cos + dy * a_sin, dy * a_cos - dx * a_sin
    cos, sin = a_cos * b_cos + a_sin * b_sin, a_cos * b_sin - a_sin * b_cos
    ux, uy, vx, vy = b_half_x * cos, b_half_x * sin, -b_half_y * sin, b_half_y * cos
    apart = (tl.abs(x) >= a_half_x + tl.abs(ux) + tl.abs(vx)) | (tl.abs(y) >= a_half_y + tl.abs(uy) + tl.abs(vy))
    apart |= tl.abs(dx * b_cos + dy * b_sin) >= b_half_x + a_half_x * tl.abs(cos) + a_half_y * tl.abs(sin)
    apart |= tl.abs(dy * b_cos - dx * b_sin) >= b_half_y + a_half_x * tl.abs(sin) + a_half_y * tl.abs(cos)
    area = -_area_under_edge(x + ux + vx, y + uy + vy, x - ux + vx, y - uy + vy, a_half_x, a_half_y)
    area -= _area_under_edge(x - ux + vx, y - uy + vy, x - ux - vx, y - uy - vy, a_half_x, a_half_y)
    area -= _area_under_edge(x - ux - vx, y - uy - vy, x + ux - vx, y + uy - vy, a_half_x, a_half_y)
    area -= _area_under_edge(x + ux - vx, y + uy - vy, x + ux + vx, y + uy + vy, a_half_x, a_half_y)
    return tl.where(apart, 0.0, tl.maximum(area, 0.0)), 4 * a_half_x * a_half_y + 4 * b_half_x * b_half_y


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
def _box_iou_kernel(rows, columns, iou, num_rows, num_columns, VOLUME: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """One program per (block of rows, block of columns); blocks without a near pair only write zeros."""
    program = tl.program_id(0).to(tl.int64)
    across = tl.cdiv(num_columns, COLUMNS)
    i = (program // across * ROWS + tl.arange(0, ROWS))[:, None]
    j = (program % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    in_a, in_b = i < num_rows, j < num_columns
    near = _near(rows, i, num_rows, in_a, columns, j, num_columns, in_b)
    value = tl.zeros((ROWS, COLUMNS), tl.float64)
    if tl.max(tl.max(near.to(tl.int32), 1), 0) > 0:
        shared, total = _shared_and_sizes(rows, i, num_rows, in_a, columns, j, num_columns, in_b)
        if VOLUME:
            a_half, b_half = _column(rows, 9, num_rows, i, in_a), _column(columns, 9, num_columns, j, in_b)
            rise = _column(columns, 8, num_columns, j, in_b) - _column(rows, 8, num_rows, i, in_a)
            shared *= tl.maximum(tl.minimum(a_half, rise + b_half) - tl.maximum(-a_half, rise - b_half), 0.0)
            area_a = _column(rows, 2, num_rows, i, in_a) * _column(rows, 3, num_rows, i, in_a)
            area_b = _column(columns, 2, num_columns, j, in_b) * _column(columns, 3, num_columns, j, in_b)
            total = 8 * area_a * a_half + 8 * area_b * b_half
        value = tl.where(shared > 0, shared / tl.where(shared > 0, total - shared, 1.0), 0.0)
    tl.store(iou + i * num_columns + j, value.to(iou.dtype.element_ty), in_a & in_b)


@triton.jit
def _hits(table, group, i, in_i, j, in_j, count, threshold):
    """[I, J]: whether box i suppresses box j if it stays itself; zeros at once where no bounds meet."""
    near = _near(table, i, count, in_i, table, j, count, in_j) & (i < j)
    near &= tl.load(group + i, in_i, other=-1) == tl.load(group + j, in_j, other=-2)
    hit = near
    if tl.max(tl.max(near.to(tl.int32), 1), 0) > 0:
        shared, total = _shared_and_sizes(table, i, count, in_i, table, j, count, in_j)
        positive = shared > 0
        hit = near & positive & (shared / tl.where(positive, total - shared, 1.0) > tl.load(threshold))
    return hit


@triton.jit(do_not_specialize=["begin", "end", "count", "words"])
def _hits_kernel(table, group, hits, begin, end, count, threshold, words, ROWS: tl.constexpr, WORD: tl.constexpr):
    """One program per (block of rows, word of columns) of the chunk: bit k of a word is set where the row suppresses column k."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    word = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WORD)
    i, j = (begin + row)[:, None], (begin + word * WORD + column)[None, :]
    hit = _hits(table, group, i, i < end, j, j < end, count, threshold)
    bits = tl.sum(tl.where(hit, (column * 0 + 1 << column)[None, :], 0), 1)
    tl.store(hits + row * words + word, bits, begin + row < end)


@triton.jit(do_not_specialize=["begin", "end", "words"])
def _decide_kernel(hits, removed, begin, end, words, WORDS: tl.constexpr, WORD: tl.constexpr):
    """One program: goes through the chunk in order and adds up the words of the boxes that stay."""
    word = tl.arange(0, WORDS)
    lane = tl.arange(0, WORD)
    place = begin + (word[:, None] * WORD + lane[None, :]).to(tl.int64)
    gone = tl.sum(tl.load(removed + place, place < end, other=0) << lane[None, :], 1)
    for i in range(end - begin):
        own = tl.max(tl.where(word == i // WORD, (gone >> (i % WORD)) & 1, 0), 0)
        row = tl.load(hits + i * words + word, word < words, other=0)
        gone |= tl.where(own == 0, row, 0)
    tl.store(removed + place, (gone[:, None] >> lane[None, :]) & 1, place < end)


@triton.jit(do_not_specialize=["begin", "end", "count"])
def _remove_kernel(table, group, removed, begin, end, count, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """One program per block of boxes behind the chunk: they go if a box of the chunk that stays suppresses them."""
    column = end + tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    gone = tl.load(removed + column, column < count, other=1)
    for offset in range(begin, end, ROWS):
        row = offset + tl.arange(0, ROWS).to(tl.int64)
        stays = tl.load(removed + row, row < end, other=1) == 0
        i, j = row[:, None], column[None, :]
        hit = _hits(table, group, i, stays[:, None], j, (gone == 0)[None, :], count, threshold)
        gone = tl.maximum(gone, tl.max(hit.to(tl.int32), 0))
    tl.store(removed + column, gone, column < count)


@triton.jit(do_not_specialize=["num_points", "num_boxes"])
def _points_in_boxes_kernel(
    points,
    table,
    point_batch,
    box_batch,
    first,
    counts,
    num_points,
    num_boxes,
    POINTS: tl.constexpr,
    BOXES: tl.constexpr,
):
    """One program per block of points, over all boxes."""
    i = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    valid = i < num_points
    x = tl.load(points + i * 3, valid, other=0.0)[:, None]
    y = tl.load(points + i * 3 + 1, valid, other=0.0)[:, None]
    z = tl.load(points + i * 3 + 2, valid, other=0.0)[:, None]
    entry = tl.load(point_batch + i, valid, other=0)[:, None]
    found = i * 0 + num_boxes
    for offset in range(0, num_boxes, BOXES):
        box = offset + tl.arange(0, BOXES).to(tl.int64)
        known = box < num_boxes
        j = box[None, :]
        dx, dy = x - _column(table, 0, num_boxes, j, known[None, :]), y - _column(table, 1, num_boxes, j, known[None, :])
        cos, sin = _column(table, 4, num_boxes, j, known[None, :]), _column(table, 5, num_boxes, j, known[None, :])
        inside = valid[:, None] & known[None, :] & (tl.load(box_batch + j, known[None, :], other=0) == entry)
        inside &= tl.abs(dx * cos + dy * sin) <= _column(table, 2, num_boxes, j, known[None, :])
        inside &= tl.abs(dy * cos - dx * sin) <= _column(table, 3, num_boxes, j, known[None, :])
        inside &= tl.abs(z - _column(table, 8, num_boxes, j, known[None, :])) <= _column(table, 9, num_boxes, j, known[None, :])
        found = tl.minimum(found, tl.min(tl.where(inside, j, num_boxes), 1))
        hits = tl.sum(inside.to(tl.int64), 0)
        tl.atomic_add(counts + box, hits, known & (hits > 0))
    tl.store(first + i, found, valid & (found < num_boxes))
