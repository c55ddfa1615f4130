"""Rotated boxes in Triton, without fused multiply-adds, so that faces and thresholds fall as on the CPU.

What float32 can tell (pairs that are apart, overlaps away from the threshold) it does; a block with any other pair goes on in float64.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import EXACT, on_device_of_tensors
from geo3d.ops.cuda.points_in_boxes import points_in_boxes
from geo3d.ops.cuda.rectangles import column_of, exceeds, maybe_near, near, shared_and_sizes, single_table, table

__all__ = ["box_iou", "nms_rotated", "points_in_boxes"]

CHUNK = 1024  # boxes that one round of suppression decides
WORD = 32  # boxes in a word of the bit mask


@on_device_of_tensors
def box_iou(a: Tensor, b: Tensor, volume: bool) -> Tensor:
    """a [N, 7], b [M, 7] -> [N, M]."""
    iou = torch.empty((len(a), len(b)), dtype=torch.float64 if a.dtype == torch.float64 else torch.float32, device=a.device)
    if iou.numel() == 0:
        return iou
    rows, columns = table(a), table(b)
    singles = (single_table(rows), single_table(columns))
    grid = (triton.cdiv(len(a), 16) * triton.cdiv(len(b), 32),)  # one axis: the second has 65,535 programs at most
    _box_iou_kernel[grid](rows, columns, *singles, iou, len(a), len(b), volume, ROWS=16, COLUMNS=32, num_warps=8, **EXACT)
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
    double = table(boxes)
    tables = (double, single_table(double))
    limit = torch.full((1,), threshold, dtype=torch.float64, device=boxes.device)  # a Python float would arrive as float32
    words = triton.cdiv(min(count, CHUNK), WORD)
    hits = torch.empty((min(count, CHUNK), words), dtype=torch.int32, device=boxes.device)
    for begin in range(0, count, CHUNK):
        end = min(begin + CHUNK, count)
        _hits_kernel[(triton.cdiv(end - begin, 16), words)](
            *tables, group, hits, begin, end, count, limit, words, ROWS=16, WORD=WORD, num_warps=8, **EXACT
        )
        block = triton.next_power_of_2(words)
        _decide_kernel[(1,)](hits, removed, begin, end, words, WORDS=block, WORD=WORD, num_warps=1)
        if end < count:
            _remove_kernel[(triton.cdiv(count - end, WORD),)](
                *tables, group, removed, begin, end, count, limit, ROWS=16, COLUMNS=WORD, num_warps=8, **EXACT
            )
    return removed == 0


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
def _box_iou_kernel(
    rows,
    columns,
    single_rows,
    single_columns,
    iou,
    num_rows,
    num_columns,
    VOLUME: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program per (block of rows, block of columns); blocks without a near pair only write zeros."""
    program = tl.program_id(0).to(tl.int64)
    across = tl.cdiv(num_columns, COLUMNS)
    i = (program // across * ROWS + tl.arange(0, ROWS))[:, None]
    j = (program % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    in_a, in_b = i < num_rows, j < num_columns
    is_near = maybe_near(single_rows, i, num_rows, in_a, single_columns, j, num_columns, in_b)
    value = tl.zeros((ROWS, COLUMNS), tl.float64)
    if tl.max(tl.max(is_near.to(tl.int32), 1), 0) > 0:
        shared, total = shared_and_sizes(rows, i, num_rows, in_a, columns, j, num_columns, in_b)
        if VOLUME:
            a_half, b_half = column_of(rows, 9, num_rows, i, in_a), column_of(columns, 9, num_columns, j, in_b)
            rise = column_of(columns, 8, num_columns, j, in_b) - column_of(rows, 8, num_rows, i, in_a)
            shared *= tl.maximum(tl.minimum(a_half, rise + b_half) - tl.maximum(-a_half, rise - b_half), 0.0)
            area_a = column_of(rows, 2, num_rows, i, in_a) * column_of(rows, 3, num_rows, i, in_a)
            area_b = column_of(columns, 2, num_columns, j, in_b) * column_of(columns, 3, num_columns, j, in_b)
            total = 8 * area_a * a_half + 8 * area_b * b_half
        value = tl.where(shared > 0, shared / tl.where(shared > 0, total - shared, 1.0), 0.0)
    tl.store(iou + i * num_columns + j, value.to(iou.dtype.element_ty), in_a & in_b)


@triton.jit
def _hits(double, single, group, i, in_i, j, in_j, count, threshold):
    """[I, J]: whether box i suppresses box j if it stays itself."""
    is_near = maybe_near(single, i, count, in_i, single, j, count, in_j) & (i < j)
    is_near &= tl.load(group + i, in_i, other=-1) == tl.load(group + j, in_j, other=-2)
    hit = is_near
    if tl.max(tl.max(is_near.to(tl.int32), 1), 0) > 0:
        limit = tl.load(threshold)
        is_above, decided = exceeds(single, i, count, in_i, single, j, count, in_j, limit.to(tl.float32))
        hit = is_near & is_above
        if tl.max(tl.max((is_near & (decided == 0)).to(tl.int32), 1), 0) > 0:
            shared, total = shared_and_sizes(double, i, count, in_i, double, j, count, in_j)
            positive = shared > 0
            hit = is_near & near(double, i, count, in_i, double, j, count, in_j)
            hit &= positive & (shared / tl.where(positive, total - shared, 1.0) > limit)
    return hit


@triton.jit(do_not_specialize=["begin", "end", "count", "words"])
def _hits_kernel(double, single, group, hits, begin, end, count, threshold, words, ROWS: tl.constexpr, WORD: tl.constexpr):
    """One program per (block of rows, word of columns) of the chunk: bit k of a word is set where the row suppresses column k."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    word = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WORD)
    i, j = (begin + row)[:, None], (begin + word * WORD + column)[None, :]
    hit = _hits(double, single, group, i, i < end, j, j < end, count, threshold)
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
def _remove_kernel(double, single, group, removed, begin, end, count, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """One program per block of boxes behind the chunk: they go if a box of the chunk that stays suppresses them."""
    column = end + tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    gone = tl.load(removed + column, column < count, other=1)
    for offset in range(begin, end, ROWS):
        row = offset + tl.arange(0, ROWS).to(tl.int64)
        stays = tl.load(removed + row, row < end, other=1) == 0
        i, j = row[:, None], column[None, :]
        hit = _hits(double, single, group, i, stays[:, None], j, (gone == 0)[None, :], count, threshold)
        gone = tl.maximum(gone, tl.max(hit.to(tl.int32), 0))
    tl.store(removed + column, gone, column < count)
