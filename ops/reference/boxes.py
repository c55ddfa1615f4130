"""Definitions of the ops on rotated boxes in plain torch; boxes are [x, y, z, dx, dy, dz, yaw]."""

from __future__ import annotations

import torch
from torch import Tensor


def rectangles(boxes: Tensor) -> Tensor:
    """boxes [..., 7] -> float64 [..., 10]: x, y, dx/2, dy/2, cos yaw, sin yaw, x and y half extent of the footprint, z, dz/2."""
    x, y, z, dx, dy, dz, yaw = boxes.double().unbind(-1)
    cos, sin = yaw.cos(), yaw.sin()
    reach_x = (dx * cos.abs() + dy * sin.abs()) / 2
    reach_y = (dx * sin.abs() + dy * cos.abs()) / 2
    return torch.stack((x, y, dx / 2, dy / 2, cos, sin, reach_x, reach_y, z, dz / 2), -1)


def _clamp(values: Tensor, half: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(values, half), -half)


def _fraction(numerator: Tensor, denominator: Tensor, otherwise: float) -> Tensor:
    """numerator / denominator in [0, 1], `otherwise` where the denominator is zero."""
    zero = denominator == 0
    return torch.where(zero, otherwise, numerator / torch.where(zero, 1, denominator)).clamp(0, 1)


def _area_under_edge(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, half_x: Tensor, half_y: Tensor) -> Tensor:
    """Integral over x, from x0 to x1 as far as inside [-half_x, half_x], of the edge's y clamped to [-half_y, half_y].

    y clamped is flat up to `enter`, straight up to `leave`, and flat again.
    """
    dx, dy = x1 - x0, y1 - y0
    left, right = _clamp(x0, half_x), _clamp(x1, half_x)
    start, stop = y0 + dy * _fraction(left - x0, dx, 0), y0 + dy * _fraction(right - x0, dx, 1)
    rise = stop - start
    low, high = _fraction(-half_y - start, rise, 0), _fraction(half_y - start, rise, 1)
    enter, leave = torch.minimum(low, high), torch.maximum(low, high)
    first, last = _clamp(start, half_y), _clamp(stop, half_y)
    return (right - left) * ((enter + leave) * first + (2 - enter - leave) * last) / 2


def overlap_area(a: Tensor, b: Tensor) -> Tensor:
    """Area shared by the footprints of rectangles [..., 10] and [..., 10], exactly 0 where they are apart or touch.

    Seen from the first rectangle, which is then upright, the shared region reaches at each x from the lower to the upper edge
    of the second, both clamped to the height of the first: an integral that needs no vertices of the shared polygon, is continuous
    everywhere and whose derivative torch knows. Separating axes tell exactly which pairs share nothing.
    """
    ax, ay, a_half_x, a_half_y, a_cos, a_sin = a.unbind(-1)[:6]
    bx, by, b_half_x, b_half_y, b_cos, b_sin = b.unbind(-1)[:6]
    dx, dy = bx - ax, by - ay
    x, y = dx * a_cos + dy * a_sin, dy * a_cos - dx * a_sin
    cos, sin = a_cos * b_cos + a_sin * b_sin, a_cos * b_sin - a_sin * b_cos
    ux, uy, vx, vy = b_half_x * cos, b_half_x * sin, -b_half_y * sin, b_half_y * cos
    apart = (x.abs() >= a_half_x + ux.abs() + vx.abs()) | (y.abs() >= a_half_y + uy.abs() + vy.abs())
    apart |= (dx * b_cos + dy * b_sin).abs() >= b_half_x + a_half_x * cos.abs() + a_half_y * sin.abs()
    apart |= (dy * b_cos - dx * b_sin).abs() >= b_half_y + a_half_x * sin.abs() + a_half_y * cos.abs()
    corners_x = (x + ux + vx, x - ux + vx, x - ux - vx, x + ux - vx)
    corners_y = (y + uy + vy, y - uy + vy, y - uy - vy, y + uy - vy)
    area = torch.zeros_like(x)
    for k in range(4):  # counter-clockwise, so upper edges run towards lower x
        after = (k + 1) % 4
        area = area - _area_under_edge(corners_x[k], corners_y[k], corners_x[after], corners_y[after], a_half_x, a_half_y)
    return torch.where(apart, 0, area.clamp(min=0))


def box_iou_paired(a: Tensor, b: Tensor, volume: bool) -> Tensor:
    """IoU of boxes [..., 7] and [..., 7] that broadcast, float64 [...]: of their footprints, or of their volumes."""
    a, b = torch.broadcast_tensors(rectangles(a), rectangles(b))
    shared = overlap_area(a, b)
    size_a, size_b = 4 * a[..., 2] * a[..., 3], 4 * b[..., 2] * b[..., 3]
    if volume:
        rise, a_half, b_half = b[..., 8] - a[..., 8], a[..., 9], b[..., 9]
        shared = shared * (torch.minimum(a_half, rise + b_half) - torch.maximum(-a_half, rise - b_half)).clamp(min=0)
        size_a, size_b = size_a * 2 * a_half, size_b * 2 * b_half
    union = size_a + size_b - shared
    return torch.where(union > 0, shared / torch.where(union > 0, union, 1), 0)


def box_iou(a: Tensor, b: Tensor, volume: bool) -> Tensor:
    """a [N, 7], b [M, 7] -> [N, M]."""
    dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    return box_iou_paired(a[:, None], b[None], volume).to(dtype)


def nms_rotated(boxes: Tensor, group: Tensor, threshold: float) -> Tensor:
    """boxes [N, 7] and group [N], sorted by group and then from the best -> [N] bool, True where the box is kept.

    A box is kept unless its IoU with a better kept box of its group exceeds the threshold.
    """
    hit = box_iou_paired(boxes[:, None], boxes[None], False) > threshold
    hit &= group[:, None] == group[None]
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in range(len(boxes)):
        keep[i + 1 :] &= ~(hit[i, i + 1 :] & keep[i])
    return keep


def points_in_boxes(points: Tensor, boxes: Tensor, point_batch: Tensor, box_batch: Tensor) -> tuple[Tensor, Tensor]:
    """points [N, 3], boxes [M, 7], their batch entries [N], [M] -> first box of each point [N] or -1, points of each box [M]."""
    x, y, half_x, half_y, cos, sin, _, _, z, half_z = rectangles(boxes).unbind(-1)
    px, py, pz = points.double()[:, :, None].unbind(1)
    dx, dy = px - x, py - y
    inside = ((dx * cos + dy * sin).abs() <= half_x) & ((dy * cos - dx * sin).abs() <= half_y) & ((pz - z).abs() <= half_z)
    inside &= point_batch[:, None] == box_batch[None]
    index = torch.where(inside, torch.arange(len(boxes), device=boxes.device), len(boxes))
    first = torch.cat((index, index.new_full((len(points), 1), len(boxes))), 1).amin(1)
    return torch.where(first == len(boxes), -1, first), inside.sum(0)
