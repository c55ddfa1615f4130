"""What both heads do with predicted boxes: sizes, limits, scores rectified by the predicted IoU, suppression class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geo3d.ops import nms_rotated

Range = tuple[float, float, float, float, float, float]


def sizes_from_logs(log_sizes: Tensor) -> Tensor:
    """Box sizes [..., 3] in metres from their predicted logarithms; a diverging prediction stays finite, at most 3 km."""
    return log_sizes.clamp(-8, 8).exp()


def inside(centers: Tensor, limits: Range) -> Tensor:
    """Whether centers [..., 3] are within the limits, x, y, z from and x, y, z to, bounds included."""
    low, high = centers.new_tensor(limits).split(3)
    return ((centers >= low) & (centers <= high)).all(-1)


def rectify_scores(scores: Tensor, iou: Tensor, weight: Tensor | float) -> Tensor:
    """score^(1 - weight) * IoU^weight, the IoU from its prediction in [-1, 1] (2 IoU - 1), all [...]."""
    return scores ** (1 - weight) * ((iou + 1) / 2).clamp(0, 1) ** weight


def class_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    batch_index: Tensor,
    thresholds: Sequence[float | None],
    *,
    max_before: Sequence[int] | None = None,
    max_after: Sequence[int] | None = None,
    turned: bool = False,
) -> Tensor:
    """Rotated non-maximum suppression among the boxes of one class in one sample.

    Args:
        boxes: [N, 7 or 9]; scores [N]; labels [N] int64; batch_index [N] int64.
        thresholds: IoU of footprints above which the worse box goes, for each class; None keeps all boxes of the class.
        max_before, max_after: most boxes of each class and sample that enter and leave, the best ones; None: no limit.
        turned: turn every footprint by 90 degrees about its centre.

    Returns:
        [N] bool, True for the boxes that stay.
    """
    footprints = boxes[:, [0, 1, 3, 4, 6]]
    if turned:
        footprints = footprints + footprints.new_tensor([0, 0, 0, 0, math.pi / 2])
    keep = torch.zeros_like(labels, dtype=torch.bool)
    for label, threshold in enumerate(thresholds):
        rows = (labels == label).nonzero()[:, 0]
        if threshold is not None:
            if max_before is not None:
                rows = rows[rank_in_sample(scores[rows], batch_index[rows]) < max_before[label]]
            limit = None if max_after is None else max_after[label]
            stay = nms_rotated(footprints[rows], scores[rows], threshold, batch_index=batch_index[rows], max_output=limit)
            rows = rows[stay]
        keep[rows] = True
    return keep


def rank_in_sample(scores: Tensor, groups: Tensor) -> Tensor:
    """[N] int64: how many of the same group have a higher score, or an equal one and a lower index; scores, groups [N]."""
    by_score = scores.argsort(stable=True, descending=True)
    order = by_score[groups[by_score].argsort(stable=True)]
    ordered = groups[order]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - torch.searchsorted(ordered, ordered)
    return rank
