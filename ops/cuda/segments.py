"""Reductions of rows in segments that a sorted order gives, in Triton: long segments in parts, always the same, combined in order.

A program goes through at most CHUNK rows of each of its segments. What is longer is cut into parts of CHUNK rows, each reduced by a
program of its own in a launch before: part j of the segment that begins at place b begins at b + j CHUNK. Places are cut into windows
of CHUNK, too; the part that begins in window w has slot 2 w + 1 if it is the first of its segment and slot 2 w otherwise, which no
other part has, so nobody has to count the parts. The result of a segment depends on its own rows alone.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 256
ROWS = 16  # of a part that are loaded together
SUM, MAX, EXP = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


def segment_sum(
    values: Tensor, order: Tensor, offsets: Tensor, mean: bool = False, weights: Tensor | None = None, share: int = 1
) -> Tensor:
    """Sums [M, C] of values[order[i] // share], weighted by weights[order[i]], over i in offsets[m]..offsets[m + 1]."""
    sums = values.new_empty((len(offsets) - 1, values.shape[1]))
    result = (sums, order)
    _launch(
        values, order, offsets, values if weights is None else weights, sums, result, SUM, mean, 1, share, weights is not None
    )
    return sums


def segment_max(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool, winners: bool) -> tuple[Tensor, Tensor]:
    """Largest values [M, C], zero in an empty segment, and the first row that has them, len(values) in an empty segment."""
    best = values.new_empty((len(offsets) - 1, values.shape[1]))
    winner = torch.empty_like(best, dtype=torch.int64) if winners else order
    _launch(values, order, offsets, values, best, (best, winner), MAX, winners, -1 if minimum else 1, 1, False)
    return best, winner


def segment_exponential_sum(values: Tensor, order: Tensor, offsets: Tensor, shift: Tensor, logarithm: bool) -> Tensor:
    """Sums [M, C] of exp(values - shift[m]), or their logarithms + shift in the dtype of the values."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    sums = torch.empty_like(shift, dtype=values.dtype if logarithm else dtype)
    _launch(values, order, offsets, shift, sums, (sums, order), EXP, logarithm, 1, 1, False)
    return sums


def _launch(
    values: Tensor,
    order: Tensor,
    offsets: Tensor,
    other: Tensor,
    result: Tensor,
    results: tuple[Tensor, Tensor],
    kind: tl.constexpr,
    flag: bool,
    sign: int,
    share: int,
    weighted: bool,
) -> None:
    rows, channels = result.shape
    if rows == 0 or channels == 0:
        return
    block_channels = min(128, triton.next_power_of_2(channels))
    block_rows = 512 // block_channels
    columns = triton.cdiv(channels, block_channels)
    windows = triton.cdiv(len(order), CHUNK)
    constants = {"KIND": kind, "SIGN": sign, "SHARE": share, "WEIGHTED": weighted, "CHUNK": CHUNK, "BLOCK_C": block_channels}
    dtype = torch.promote_types(values.dtype, torch.float32)
    parts = torch.empty((2 * windows, channels), dtype=dtype, device=values.device)
    winners = torch.empty_like(parts, dtype=torch.int64) if kind == MAX and flag else order
    constants["WINNER"] = kind == MAX and flag
    if len(order) > CHUNK:  # else no segment is long
        halvings = rows.bit_length()
        _parts_kernel[(2 * windows, columns)](
            values, order, offsets, other, parts, winners, len(order), rows, channels, halvings, ROWS=ROWS, **constants
        )
    _segments_kernel[(triton.cdiv(rows, block_rows), columns)](
        values,
        order,
        offsets,
        other,
        parts,
        winners,
        *results,
        len(values),
        rows,
        channels,
        FLAG=flag,
        BLOCK_M=block_rows,
        **constants,
    )


@triton.jit(do_not_specialize=["N", "M", "halvings"])
def _parts_kernel(
    values,
    order,
    offsets,
    other,
    parts,
    winners,
    N,
    M,
    C,
    halvings,
    KIND: tl.constexpr,
    WINNER: tl.constexpr,
    SIGN: tl.constexpr,
    SHARE: tl.constexpr,
    WEIGHTED: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program per (slot of a part, block of channels); most slots have no part, and their programs stop at once."""
    slot = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    window = slot // 2 * CHUNK
    is_first = slot % 2 == 1
    place = tl.where(is_first, tl.minimum(window + CHUNK, N) - 1, window)
    low, high = place * 0, place * 0 + M
    for _ in range(halvings):  # the number of segments that end at this place or before
        middle = (low + high) // 2
        is_before = (low < high) & (tl.load(offsets + tl.minimum(middle, M - 1) + 1) <= place)
        high = tl.where(is_before, high, middle)
        low = tl.where(is_before, middle + 1, low)
    m = tl.minimum(low, M - 1)
    begin, end = tl.load(offsets + m), tl.load(offsets + m + 1)
    start = tl.where(is_first, begin, begin + (window - begin + CHUNK - 1) // CHUNK * CHUNK)
    is_part = (end - begin > CHUNK) & (place >= begin) & (place < end) & (start < end)
    is_part &= (start >= window) & (start < window + CHUNK) & (is_first == (start == begin))
    if is_part:
        dtype: tl.constexpr = tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32
        stop = tl.minimum(start + CHUNK, end)
        total = tl.zeros((BLOCK_C,), dtype)
        winner = tl.zeros((BLOCK_C,), tl.int64)
        shift = total
        if KIND == EXP:
            shift = tl.load(other + m * C + c, c < C, other=0.0).to(dtype)
        for at in range(start, stop, ROWS):
            i = at + tl.arange(0, ROWS).to(tl.int64)
            has = (i < stop)[:, None] & (c < C)[None, :]
            row = tl.load(order + i, i < stop, other=0)
            value = tl.load(values + (row // SHARE)[:, None] * C + c[None, :], has, other=0.0).to(dtype)
            if KIND == SUM:
                if WEIGHTED:
                    value *= tl.load(other + row, i < stop, other=0.0).to(dtype)[:, None]
                total += tl.sum(tl.where(has, value, 0.0), 0)
            if KIND == EXP:
                total += tl.sum(tl.where(has, tl.exp(value - shift[None, :]), 0.0), 0)
            if KIND == MAX:
                value = SIGN * value
                is_nan = (value != value) & has
                some_nan = tl.max(is_nan.to(tl.int32), 0) > 0
                top = tl.max(tl.where(has & (value == value), value, float("-inf")), 0)
                is_top = tl.where(some_nan[None, :], is_nan, has & (value == top[None, :]))
                first = tl.min(tl.where(is_top, row[:, None], 0x7FFFFFFFFFFFFFFF), 0)  # rows of a segment ascend
                top = tl.where(some_nan, float("nan"), top)
                is_better = (at == start) | (top > total) | ((top != top) & (total == total))
                total = tl.where(is_better, top, total)
                winner = tl.where(is_better, first, winner)
        tl.store(parts + slot * C + c, total, c < C)
        if WINNER:
            tl.store(winners + slot * C + c, winner, c < C)


@triton.jit(do_not_specialize=["N", "M"])
def _segments_kernel(
    values,
    order,
    offsets,
    other,
    parts,
    winners,
    result,
    winner,
    N,
    M,
    C,
    KIND: tl.constexpr,
    WINNER: tl.constexpr,
    SIGN: tl.constexpr,
    SHARE: tl.constexpr,
    WEIGHTED: tl.constexpr,
    FLAG: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program per (block of segments m, block of channels): through the rows of short segments, or the parts of long ones.

    Sums are kept in float32 (float64 for float64), whatever the dtype of the values. FLAG: a mean, winners, a logarithm.
    """
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    begin = tl.load(offsets + m, m < M, other=0)
    count = tl.load(offsets + m + 1, m < M, other=0) - begin
    inside = (m < M)[:, None] & (c < C)[None, :]
    is_long = count > CHUNK
    dtype: tl.constexpr = tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros((BLOCK_M, BLOCK_C), dtype)
    arg = tl.zeros((BLOCK_M, BLOCK_C), tl.int64) + N
    shift = total
    if KIND == EXP:
        shift = tl.load(other + m[:, None] * C + c[None, :], inside, other=0.0).to(dtype)
    for step in range(tl.max(tl.where(is_long, 0, count), 0)):
        is_row = (step < count) & (is_long == 0)
        i = tl.load(order + begin + step, is_row, other=0)
        has = inside & is_row[:, None]
        value = tl.load(values + (i // SHARE)[:, None] * C + c[None, :], has, other=0.0).to(dtype)
        if KIND == SUM:
            if WEIGHTED:
                value *= tl.load(other + i, is_row, other=0.0).to(dtype)[:, None]
            total += tl.where(has, value, 0.0)
        if KIND == EXP:
            total += tl.where(has, tl.exp(value - shift), 0.0)
        if KIND == MAX:
            value = SIGN * value
            is_better = has & ((step == 0) | (value > total) | ((value != value) & (total == total)))
            total = tl.where(is_better, value, total)
            arg = tl.where(is_better, i[:, None], arg)
    for part in range(tl.max(tl.where(is_long, (count + CHUNK - 1) // CHUNK, 0), 0)):
        is_part = is_long & (part * CHUNK < count)
        slot = (begin + part * CHUNK) // CHUNK * 2 + (part == 0)
        has = inside & is_part[:, None]
        value = tl.load(parts + slot[:, None] * C + c[None, :], has, other=0.0)
        if KIND == MAX:
            is_better = has & ((part == 0) | (value > total) | ((value != value) & (total == total)))
            total = tl.where(is_better, value, total)
            if WINNER:
                arg = tl.where(is_better, tl.load(winners + slot[:, None] * C + c[None, :], has, other=0), arg)
        else:
            total += tl.where(has, value, 0.0)
    target = m[:, None] * C + c[None, :]
    if KIND == SUM:
        if FLAG:
            total = total / tl.maximum(count, 1).to(dtype)[:, None]
    if KIND == EXP:
        if FLAG:
            total = tl.log(total) + shift
    if KIND == MAX:
        total = SIGN * total
        if WINNER:
            tl.store(winner + target, arg, inside)
    tl.store(result + target, total.to(result.dtype.element_ty), inside)
