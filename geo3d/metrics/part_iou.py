"""Intersection over union of part segmentation, as ShapeNetPart's evaluation defines it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def shape_iou(pred: Tensor, parts: Tensor, category_parts: range) -> Tensor:
    """Mean IoU over the parts of a shape's category; a part neither present nor predicted counts as 1.

    Args:
        pred: [N] predicted part of each point.
        parts: [N] true part of each point.
        category_parts: the parts of the category.

    Returns:
        Scalar in [0, 1].
    """
    labels = torch.arange(category_parts.start, category_parts.stop, device=parts.device)[:, None]
    is_predicted, is_part = pred[None] == labels, parts[None] == labels
    union = (is_predicted | is_part).sum(1)
    intersection = (is_predicted & is_part).sum(1)
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0).mean()


def restricted_argmax(scores: Tensor, category_parts: range) -> Tensor:
    """Highest-scoring part among those of the category: scores [N, num_parts] -> [N] int64."""
    return scores[:, category_parts.start : category_parts.stop].argmax(1) + category_parts.start


class PartIoU(Metric):
    """Instance and category mIoU, point accuracy and IoU by category of part segmentation (Yi et al., SIGGRAPH Asia 2016).

    The arg-max is taken among the parts of the true category, as all published numbers do.

    Args:
        part_ranges: the parts of each category.
    """

    full_state_update = False
    iou_sum: Tensor
    shapes: Tensor
    correct: Tensor
    points: Tensor

    def __init__(self, part_ranges: Sequence[range], **options: Any) -> None:
        super().__init__(**options)
        self.part_ranges = list(part_ranges)
        categories = len(self.part_ranges)
        self.add_state("iou_sum", torch.zeros(categories, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("shapes", torch.zeros(categories, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("points", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, parts: Tensor, categories: Tensor) -> None:
        """scores [B, N, num_parts], parts [B, N], categories [B]."""
        for score, true, category in zip(scores, parts, categories.tolist(), strict=True):
            pred = restricted_argmax(score, self.part_ranges[category])
            self.iou_sum[category] += shape_iou(pred, true, self.part_ranges[category])
            self.shapes[category] += 1
            self.correct += (pred == true).sum()
            self.points += len(true)

    def compute(self) -> dict[str, Tensor]:
        """`instance_miou`, `category_miou` (over the categories that occurred), `point_accuracy` and `iou_by_category` [categories]."""
        seen = self.shapes > 0
        by_category = self.iou_sum / self.shapes.clamp(min=1)
        return {
            "instance_miou": (self.iou_sum.sum() / self.shapes.sum().clamp(min=1)).float(),
            "category_miou": (by_category[seen].mean() if seen.any() else by_category.sum()).float(),
            "point_accuracy": self.correct.float() / self.points.clamp(min=1),
            "iou_by_category": torch.where(seen, by_category, torch.nan).float(),
        }
