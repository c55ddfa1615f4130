"""Overlaps of rotated rectangles in Triton, in float32 with a bound of its error, and in float64 where that cannot decide.

Float64 takes 64 times as long on most GPUs, and few pairs are near a threshold. Errors of float32, u = 2**-24: the offset of two
centres is taken of sums of two float32 each, so it is right to 3 u of itself, wherever the boxes are. The corners of the second
rectangle then err by at most 12 u L, with L the sum of the offsets and its half sizes, and the area shared by as much times the
perimeter 4 (hx + hy) of the first. Each edge's mean height inside errs by 17 u (L + hy), whatever its slope, since a mean of clamped
heights follows its ends at most one to one; four edges make 136 u hx (L + hy), and their sum 32 u hx hy. All of that is below
256 u (hx + hy) (L + hx + hy), which is the bound here. Divisions may be wrong by 4 u.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.reference.boxes import rectangles

MIN_AREA = tl.constexpr(1e-30)  # square metres: products of what is smaller may be zero in float32
ROUNDING = tl.constexpr(2.0**-24)


def table(boxes: Tensor) -> Tensor:
    """`rectangles` as [10, N] float64: neighbouring boxes lie side by side."""
    return rectangles(boxes).t().contiguous()


def single_table(table: Tensor) -> Tensor:
    """A table [10, N] as [12, N] float32: x, y as far as float32 has them, the other columns, and what is left of x, y and z.

    Columns 0 to 9 are those of the table.
    """
    single = table.float()
    rest = (table - single.double()).float()
    return torch.cat((single, rest[:2], rest[8:9]))


@triton.jit
def column_of(table, column, count, index, inside):
    """Column of the boxes of an index, zero outside."""
    return tl.load(table + column * count + index, inside, other=0.0)


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
def near(a, i, count_a, in_a, b, j, count_b, in_b):
    """[I, J]: whether the upright bounds of footprints meet; i is [I, 1], j is [1, J]."""
    near_x = tl.abs(column_of(b, 0, count_b, j, in_b) - column_of(a, 0, count_a, i, in_a)) <= (
        column_of(a, 6, count_a, i, in_a) + column_of(b, 6, count_b, j, in_b)
    )
    near_y = tl.abs(column_of(b, 1, count_b, j, in_b) - column_of(a, 1, count_a, i, in_a)) <= (
        column_of(a, 7, count_a, i, in_a) + column_of(b, 7, count_b, j, in_b)
    )
    return near_x & near_y & in_a & in_b


@triton.jit
def offset(a, i, count_a, in_a, b, j, count_b, in_b, HIGH: tl.constexpr, LOW: tl.constexpr):
    """[I, J] of single tables: b - a, and a bound of what float32 leaves of it, beyond 3 roundings of the offset itself."""
    from_a, to_b = column_of(a, HIGH, count_a, i, in_a), column_of(b, HIGH, count_b, j, in_b)
    low = column_of(b, LOW, count_b, j, in_b) - column_of(a, LOW, count_a, i, in_a)
    return to_b - from_a + low, (tl.abs(from_a) + tl.abs(to_b)) * 2.0**-44


@triton.jit
def maybe_near(a, i, count_a, in_a, b, j, count_b, in_b):
    """`near` of single tables: True wherever it is, and for few pairs more. Bounds that are not finite are near."""
    x, rest_x = offset(a, i, count_a, in_a, b, j, count_b, in_b, 0, 10)
    y, rest_y = offset(a, i, count_a, in_a, b, j, count_b, in_b, 1, 11)
    reach_x = column_of(a, 6, count_a, i, in_a) + column_of(b, 6, count_b, j, in_b)
    reach_y = column_of(a, 7, count_a, i, in_a) + column_of(b, 7, count_b, j, in_b)
    beyond_x = tl.abs(x) * (1 - 2.0**-20) - rest_x > reach_x * (1 + 2.0**-20)
    beyond_y = tl.abs(y) * (1 - 2.0**-20) - rest_y > reach_y * (1 + 2.0**-20)
    return (beyond_x == 0) & (beyond_y == 0) & in_a & in_b


@triton.jit
def _shared(dx, dy, a_half_x, a_half_y, a_cos, a_sin, b_half_x, b_half_y, b_cos, b_sin):
    """Area shared by rectangles, as the reference's `overlap_area`; b is at (dx, dy) from a."""
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
    return tl.where(apart, 0.0, tl.maximum(area, 0.0))


@triton.jit
def shared_and_sizes(a, i, count_a, in_a, b, j, count_b, in_b):
    """Area shared by footprints of tables, and the sum of their areas: [I, J] float64 each."""
    a_half_x, a_half_y = column_of(a, 2, count_a, i, in_a), column_of(a, 3, count_a, i, in_a)
    b_half_x, b_half_y = column_of(b, 2, count_b, j, in_b), column_of(b, 3, count_b, j, in_b)
    a_cos, a_sin = column_of(a, 4, count_a, i, in_a), column_of(a, 5, count_a, i, in_a)
    b_cos, b_sin = column_of(b, 4, count_b, j, in_b), column_of(b, 5, count_b, j, in_b)
    dx = column_of(b, 0, count_b, j, in_b) - column_of(a, 0, count_a, i, in_a)
    dy = column_of(b, 1, count_b, j, in_b) - column_of(a, 1, count_a, i, in_a)
    shared = _shared(dx, dy, a_half_x, a_half_y, a_cos, a_sin, b_half_x, b_half_y, b_cos, b_sin)
    return shared, 4 * a_half_x * a_half_y + 4 * b_half_x * b_half_y


@triton.jit
def exceeds(a, i, count_a, in_a, b, j, count_b, in_b, threshold):
    """[I, J] of single tables: whether the IoU of footprints exceeds a threshold, and whether float32 can say so."""
    a_half_x, a_half_y = column_of(a, 2, count_a, i, in_a), column_of(a, 3, count_a, i, in_a)
    b_half_x, b_half_y = column_of(b, 2, count_b, j, in_b), column_of(b, 3, count_b, j, in_b)
    a_cos, a_sin = column_of(a, 4, count_a, i, in_a), column_of(a, 5, count_a, i, in_a)
    b_cos, b_sin = column_of(b, 4, count_b, j, in_b), column_of(b, 5, count_b, j, in_b)
    dx, rest_x = offset(a, i, count_a, in_a, b, j, count_b, in_b, 0, 10)
    dy, rest_y = offset(a, i, count_a, in_a, b, j, count_b, in_b, 1, 11)
    shared = _shared(dx, dy, a_half_x, a_half_y, a_cos, a_sin, b_half_x, b_half_y, b_cos, b_sin)
    total = 4 * a_half_x * a_half_y + 4 * b_half_x * b_half_y
    half = a_half_x + a_half_y
    length = tl.abs(dx) + tl.abs(dy) + b_half_x + b_half_y
    error = 256 * ROUNDING * half * (length + half) + 4 * half * (rest_x + rest_y)
    beyond = shared * (1 + threshold) - total * threshold  # IoU > threshold, without a division
    decided = (tl.abs(beyond) > error * (1 + threshold) + 16 * ROUNDING * total) & (total > MIN_AREA)
    return beyond > 0, decided
