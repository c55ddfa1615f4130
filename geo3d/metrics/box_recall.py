"""How many true boxes are found at all, whatever their class, as detectors of OpenPCDet's family report it during validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from geo3d.ops import box_iou_3d


class BoxRecall(Metric):
    """Share of the true boxes that some predicted box overlaps, of any class and score; frames add up.

    Args:
        thresholds: IoU of the volumes that counts as found.
    """

    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self, thresholds: Sequence[float] = (0.3, 0.5, 0.7), **options: Any) -> None:
        super().__init__(**options)
        self.thresholds = tuple(thresholds)
        self.add_state("hits", torch.zeros(len(self.thresholds), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, gt: Sequence[Tensor], boxes: Sequence[Tensor]) -> None:
        """True boxes [K, 7 or 9] and predicted ones [D, 7 or 9] of the same frames.

        Raises:
            ValueError: another number of frames.
        """
        if len(gt) != len(boxes):
            raise ValueError(f"BoxRecall: gt and boxes must be of the same frames, got {len(gt)} and {len(boxes)}")
        for gt_boxes, pred_boxes in zip(gt, boxes, strict=True):
            self.total += len(gt_boxes)
            if len(gt_boxes) and len(pred_boxes):
                best = box_iou_3d(gt_boxes[:, :7].float(), pred_boxes[:, :7].float()).amax(1)
                self.hits += torch.stack([(best > threshold).sum() for threshold in self.thresholds])

    def compute(self) -> dict[str, float]:
        """Fractions by names such as "recall_0.5"; NaN where there was no true box."""
        share = self.hits.double() / self.total  # 0 / 0 is NaN
        return {f"recall_{threshold:g}": float(value) for threshold, value in zip(self.thresholds, share, strict=True)}
