"""Points in rotated boxes in Triton: float32 tells what is away from the faces, a block with other points goes on in float64."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import EXACT, on_device_of_tensors
from geo3d.ops.cuda.rectangles import ROUNDING, column_of, single_table, table


@on_device_of_tensors
def points_in_boxes(points: Tensor, boxes: Tensor, point_batch: Tensor, box_batch: Tensor) -> tuple[Tensor, Tensor]:
    """points [N, 3], boxes [M, 7], batch entries [N], [M] -> first box of each point [N] or -1, number of points in each box [M].

    Counts are sums of integers, so their order does not matter.
    """
    first = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    counts = torch.zeros(len(boxes), dtype=torch.int64, device=points.device)
    if len(points) and len(boxes):
        double = table(boxes)
        tables = (points.double().contiguous(), double, single_table(double))
        batches = (point_batch.contiguous(), box_batch.contiguous())
        arguments = (*tables, *batches, first, counts, len(points), len(boxes))
        _points_in_boxes_kernel[(triton.cdiv(len(points), 128),)](*arguments, POINTS=128, BOXES=16, num_warps=8, **EXACT)
    return first, counts


@triton.jit(do_not_specialize=["num_points", "num_boxes"])
def _points_in_boxes_kernel(
    points,
    double,
    single,
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
    for begin in range(0, num_boxes, BOXES):
        box = begin + tl.arange(0, BOXES).to(tl.int64)
        j, known = box[None, :], (box < num_boxes)[None, :]
        same = valid[:, None] & known & (tl.load(box_batch + j, known, other=0) == entry)
        inside, decided = _inside_single(x, y, z, single, j, num_boxes, known)
        inside &= same
        if tl.max(tl.max((same & (decided == 0)).to(tl.int32), 1), 0) > 0:
            inside = same & _inside(x, y, z, double, j, num_boxes, known)
        found = tl.minimum(found, tl.min(tl.where(inside, j, num_boxes), 1))
        hits = tl.sum(inside.to(tl.int64), 0)
        tl.atomic_add(counts + box, hits, (box < num_boxes) & (hits > 0))
    tl.store(first + i, found, valid & (found < num_boxes))


@triton.jit
def _inside(x, y, z, double, j, num_boxes, known):
    """[POINTS, BOXES]: whether points are in boxes of a table, faces included."""
    dx, dy = x - column_of(double, 0, num_boxes, j, known), y - column_of(double, 1, num_boxes, j, known)
    cos, sin = column_of(double, 4, num_boxes, j, known), column_of(double, 5, num_boxes, j, known)
    inside = tl.abs(dx * cos + dy * sin) <= column_of(double, 2, num_boxes, j, known)
    inside &= tl.abs(dy * cos - dx * sin) <= column_of(double, 3, num_boxes, j, known)
    return inside & (tl.abs(z - column_of(double, 8, num_boxes, j, known)) <= column_of(double, 9, num_boxes, j, known))


@triton.jit
def _inside_single(x, y, z, single, j, num_boxes, known):
    """The same of a single table, and whether it is decided: no face is nearer than 32 roundings, where 12 may be lost."""
    dx, rest_x = _offset(x, single, 0, 10, j, num_boxes, known)
    dy, rest_y = _offset(y, single, 1, 11, j, num_boxes, known)
    dz, rest_z = _offset(z, single, 8, 12, j, num_boxes, known)
    cos, sin = column_of(single, 4, num_boxes, j, known), column_of(single, 5, num_boxes, j, known)
    half_x, half_y, half_z = (
        column_of(single, 2, num_boxes, j, known),
        column_of(single, 3, num_boxes, j, known),
        column_of(single, 9, num_boxes, j, known),
    )
    rest = rest_x + rest_y + 32 * ROUNDING * (tl.abs(dx) + tl.abs(dy) + half_x + half_y)
    beyond_x, beyond_y = tl.abs(dx * cos + dy * sin) - half_x, tl.abs(dy * cos - dx * sin) - half_y
    beyond_z, rest_z = tl.abs(dz) - half_z, rest_z + 32 * ROUNDING * (tl.abs(dz) + half_z)
    outside = (beyond_x > rest) | (beyond_y > rest) | (beyond_z > rest_z)
    inside = (beyond_x < -rest) & (beyond_y < -rest) & (beyond_z < -rest_z)
    return inside, inside | outside


@triton.jit
def _offset(place, single, HIGH: tl.constexpr, LOW: tl.constexpr, j, num_boxes, known):
    """[POINTS, BOXES] float32: from the centres to float64 places, and a bound of what is lost beyond 3 roundings of the offset."""
    high = place.to(tl.float32)
    low = (place - high.to(tl.float64)).to(tl.float32)
    centre = column_of(single, HIGH, num_boxes, j, known)
    return high - centre + (low - column_of(single, LOW, num_boxes, j, known)), (tl.abs(high) + tl.abs(centre)) * 2.0**-44
