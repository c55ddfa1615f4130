"""Overlap of rotated boxes, suppression of overlapping ones, and the points inside.

Boxes are [x, y, z, dx, dy, dz, yaw] in metres and radians: geometric centre, sizes along and across the heading and up,
yaw counter-clockwise from +x about +z. All arithmetic is in float64, relative to one of the two boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.reference.boxes import box_iou_paired

INTEGERS = (torch.int32, torch.int64)


def box_iou_rotated(a: Tensor, b: Tensor, *, paired: bool = False) -> Tensor:
    """Intersection over union of the footprints (bird's-eye view) of rotated boxes, exact.

    Args:
        a: [N, 7] boxes, or [N, 5] footprints (x, y, dx, dy, yaw); any floating point type.
        b: [M, 7] or [M, 5], dtype and device of `a`.
        paired: compare a[i] with b[i] alone; N and M must be equal.

    Returns:
        [N, M], or [N] if paired; float64 for float64 boxes, else float32. 0 for boxes that only touch and for two boxes without area.
        Differentiable if paired (a subgradient where edges or corners coincide; 0 for boxes that do not overlap), else not.

    Raises:
        ValueError: shapes or dtypes that do not fit, and on the CPU boxes that are not finite or have a negative size.

    Example:
        >>> square = torch.tensor([[0.0, 0, 0, 2, 2, 1, 0]])
        >>> box_iou_rotated(square, square + torch.tensor([1.0, 0, 5, 0, 0, 0, 0]))
        tensor([[0.3333]])
    """
    return _box_iou("box_iou_rotated", a, b, False, paired)


def box_iou_3d(a: Tensor, b: Tensor, *, paired: bool = False) -> Tensor:
    """Intersection over union of the volumes of boxes that are rotated about z, exact.

    Args:
        a: [N, 7] boxes, any floating point type.
        b: [M, 7] boxes, dtype and device of `a`.
        paired: compare a[i] with b[i] alone; N and M must be equal.

    Returns:
        [N, M], or [N] if paired; as `box_iou_rotated`, differentiable if paired.

    Raises:
        ValueError: shapes or dtypes that do not fit, and on the CPU boxes that are not finite or have a negative size.

    Example:
        >>> cube = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
        >>> box_iou_3d(cube, cube + torch.tensor([1.0, 0, 0, 0, 0, 0, 0]))
        tensor([[0.3333]])
    """
    return _box_iou("box_iou_3d", a, b, True, paired)


def nms_rotated(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    *,
    classes: Tensor | None = None,
    batch_index: Tensor | None = None,
    max_output: int | None = None,
) -> Tensor:
    """Greedy non-maximum suppression of rotated boxes: a box goes if a better one that stays overlaps it by more than the threshold.

    Args:
        boxes: [N, 7] boxes, or [N, 5] footprints (x, y, dx, dy, yaw); the overlap is the IoU of footprints.
        scores: [N] floating point; of equal scores the lowest index is the better.
        threshold: largest IoU, in [0, 1], at which both boxes stay.
        classes: [N] integers; boxes of different classes do not suppress each other.
        batch_index: [N] integers in any order; likewise boxes of different batch entries.
        max_output: most boxes that stay of each class in each batch entry, the best ones.

    Returns:
        [K] int64 indices of the boxes that stay, from the highest score, equals by index. Deterministic; not differentiable.
        On CUDA the number K is what the host has to wait for.

    Raises:
        ValueError: shapes, dtypes or ranges that do not fit, and on the CPU values that are not finite or a negative size.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0], [0.2, 0, 0, 4, 2, 2, 0], [9.0, 0, 0, 4, 2, 2, 0]])
        >>> nms_rotated(boxes, torch.tensor([0.8, 0.9, 0.7]), threshold=0.5)
        tensor([1, 2])
    """
    op = "nms_rotated"
    boxes = _full_boxes(op, "boxes", boxes, footprints=True).detach()
    count = len(boxes)
    if scores.shape != (count,) or not scores.is_floating_point() or scores.device != boxes.device:
        raise ValueError(f"{op}: scores must be [{count}] floating point on {boxes.device}, got {_describe(scores)}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"{op}: threshold must be in [0, 1], got {threshold}")
    if max_output is not None and max_output < 0:
        raise ValueError(f"{op}: max_output must not be negative, got {max_output}")
    if _on_cpu(scores) and bool(scores.isnan().any()):
        raise ValueError(f"{op}: scores must not be NaN, got one at {int(scores.isnan().nonzero()[0])}")
    by_score = scores.detach().sort(stable=True, descending=True).indices
    grouped = torch.arange(count, device=boxes.device)  # places in by_score, to be sorted by batch entry, class, score
    labels = {name: given for name, given in (("classes", classes), ("batch_index", batch_index)) if given is not None}
    for name, given in labels.items():
        _check_integers(op, name, given, count, boxes)
        grouped = grouped[given[by_score[grouped]].sort(stable=True).indices]
    order = by_score[grouped]
    starts = torch.zeros(count, dtype=torch.bool, device=boxes.device)
    for given in labels.values():
        starts[1:] |= given[order[1:]] != given[order[:-1]]
    group = starts.long().cumsum(0)
    keep = torch.ops.geo3d.nms_rotated(boxes[order], group, threshold)
    if max_output is not None:
        kept = keep.long().cumsum(0)
        before = (kept - keep.long())[torch.searchsorted(group, group)]  # kept ahead of the first box of the group
        keep = keep & (kept - before <= max_output)
    keep_by_score = torch.zeros_like(keep)
    keep_by_score[grouped] = keep
    return by_score[keep_by_score]


def points_in_boxes(
    points: Tensor, boxes: Tensor, *, point_batch: Tensor | None = None, box_batch: Tensor | None = None
) -> Tensor:
    """The first box that holds each point; faces belong to the box.

    Args:
        points: [N, 3] floating point.
        boxes: [M, 7] floating point, device of `points`.
        point_batch: [N] int32 or int64 in any order, batch entry of each point; then `box_batch` is needed too.
        box_batch: [M] int32 or int64 in any order; a box holds only points of its own batch entry.

    Returns:
        [N] int64, the lowest index of a box that holds the point, -1 where there is none (also for points that are not finite).
        Not differentiable.

    Raises:
        ValueError: shapes or dtypes that do not fit, and on the CPU boxes that are not finite or have a negative size.

    Example:
        >>> points, boxes = torch.tensor([[0.1, 0, 0], [9.0, 9, 9]]), torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
        >>> points_in_boxes(points, boxes)
        tensor([ 0, -1])
    """
    return _points_in_boxes("points_in_boxes", points, boxes, point_batch, box_batch)[0]


def count_points_in_boxes(
    points: Tensor, boxes: Tensor, *, point_batch: Tensor | None = None, box_batch: Tensor | None = None
) -> Tensor:
    """The number of points in each box [M], int64; a point in several boxes counts in each. Arguments as `points_in_boxes`.

    Example:
        >>> points, boxes = torch.tensor([[0.1, 0, 0], [0.2, 0, 0], [9, 9, 9]]), torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
        >>> count_points_in_boxes(points, boxes)
        tensor([2])
    """
    return _points_in_boxes("count_points_in_boxes", points, boxes, point_batch, box_batch)[1]


def _box_iou(op: str, a: Tensor, b: Tensor, volume: bool, paired: bool) -> Tensor:
    a = _full_boxes(op, "a", a, footprints=not volume)
    b = _full_boxes(op, "b", b, footprints=not volume)
    if a.dtype != b.dtype or a.device != b.device:
        raise ValueError(f"{op}: a and b must share dtype and device, got {_describe(a)} and {_describe(b)}")
    if not paired:
        return torch.ops.geo3d.box_iou(a.detach(), b.detach(), volume)
    if len(a) != len(b):
        raise ValueError(f"{op}: paired boxes must be as many in a and b, got {len(a)} and {len(b)}")
    return box_iou_paired(a, b, volume).to(_result_dtype(a))


def _points_in_boxes(
    op: str, points: Tensor, boxes: Tensor, point_batch: Tensor | None, box_batch: Tensor | None
) -> tuple[Tensor, Tensor]:
    if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != 3 or not points.is_floating_point():
        raise ValueError(f"{op}: points must be [N, 3] floating point, got {_describe(points)}")
    boxes = _full_boxes(op, "boxes", boxes, footprints=False)
    if points.device != boxes.device:
        raise ValueError(f"{op}: points and boxes must share a device, got {points.device} and {boxes.device}")
    if (point_batch is None) != (box_batch is None):
        raise ValueError(f"{op}: point_batch and box_batch go together, got only one")
    if point_batch is None or box_batch is None:
        point_batch = torch.zeros(len(points), dtype=torch.int64, device=boxes.device)
        box_batch = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    _check_integers(op, "point_batch", point_batch, len(points), boxes)
    _check_integers(op, "box_batch", box_batch, len(boxes), boxes)
    entries = (point_batch.long().contiguous(), box_batch.long())
    return torch.ops.geo3d.points_in_boxes(points.detach().contiguous(), boxes.detach(), *entries)


def _full_boxes(op: str, name: str, boxes: Tensor, footprints: bool) -> Tensor:
    """Checked boxes [N, 7]; footprints [N, 5] get z and dz of zero."""
    columns = (5, 7) if footprints else (7,)
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] not in columns or not boxes.is_floating_point():
        wanted = " or ".join(f"[N, {c}]" for c in columns)
        raise ValueError(f"{op}: {name} must be {wanted} floating point, got {_describe(boxes)}")
    if boxes.shape[1] == 5:
        zero = torch.zeros_like(boxes[:, :1])
        boxes = torch.cat((boxes[:, :2], zero, boxes[:, 2:4], zero, boxes[:, 4:]), 1)
    if _on_cpu(boxes):
        bad = ~torch.isfinite(boxes).all(1) | (boxes[:, 3:6] < 0).any(1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise ValueError(f"{op}: {name} must be finite with sizes of at least 0, got {boxes[row].tolist()} in row {row}")
    return boxes


def _check_integers(op: str, name: str, labels: Tensor, count: int, boxes: Tensor) -> None:
    if labels.shape != (count,) or labels.dtype not in INTEGERS or labels.device != boxes.device:
        raise ValueError(f"{op}: {name} must be [{count}] int32 or int64 on {boxes.device}, got {_describe(labels)}")


def _describe(value: object) -> str:
    return f"{list(value.shape)} {value.dtype} on {value.device}" if isinstance(value, Tensor) else type(value).__name__


def _on_cpu(tensor: Tensor) -> bool:
    """Whether values may be looked at: on CUDA that would synchronise, in a trace there are none."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _result_dtype(boxes: Tensor) -> torch.dtype:
    return torch.float64 if boxes.dtype == torch.float64 else torch.float32


@torch.library.custom_op("geo3d::box_iou", mutates_args=(), device_types="cpu")
def _box_iou_op(a: Tensor, b: Tensor, volume: bool) -> Tensor:
    from geo3d.ops.cpu import boxes as cpu

    return cpu.box_iou(a, b, volume)


@_box_iou_op.register_kernel("cuda")
def _(a, b, volume):
    from geo3d.ops.cuda import boxes as cuda

    return cuda.box_iou(a, b, volume)


@_box_iou_op.register_fake
def _(a, b, volume):
    return a.new_empty((a.shape[0], b.shape[0]), dtype=_result_dtype(a))


@torch.library.custom_op("geo3d::nms_rotated", mutates_args=(), device_types="cpu")
def _nms_rotated_op(boxes: Tensor, group: Tensor, threshold: float) -> Tensor:
    from geo3d.ops.cpu import boxes as cpu

    return cpu.nms_rotated(boxes, group, threshold)


@_nms_rotated_op.register_kernel("cuda")
def _(boxes, group, threshold):
    from geo3d.ops.cuda import boxes as cuda

    return cuda.nms_rotated(boxes, group, threshold)


@_nms_rotated_op.register_fake
def _(boxes, group, threshold):
    return group.new_empty(group.shape, dtype=torch.bool)


@torch.library.custom_op("geo3d::points_in_boxes", mutates_args=(), device_types="cpu")
def _points_in_boxes_op(points: Tensor, boxes: Tensor, point_batch: Tensor, box_batch: Tensor) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import boxes as cpu

    return cpu.points_in_boxes(points, boxes, point_batch, box_batch)


@_points_in_boxes_op.register_kernel("cuda")
def _(points, boxes, point_batch, box_batch):
    from geo3d.ops.cuda import boxes as cuda

    return cuda.points_in_boxes(points, boxes, point_batch, box_batch)


@_points_in_boxes_op.register_fake
def _(points, boxes, point_batch, box_batch):
    return torch.empty_like(point_batch), torch.empty_like(box_batch)
