"""Metrics of detected hands: average precision at half overlap, recall, and how often the side is right."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

MIN_OVERLAP = 0.5  # of a hit, common area by union


class HandBoxScores(Metric):
    """Hits are boxes with at least half overlap with a hand, each hand hit once, the surest box first.

    `update` takes the hands of one image; `compute` gives `average_precision` (area under precision over recall, all points, sides aside),
    `recall` and `precision` of boxes of at least `score`, and `side_accuracy` among those hits; of nothing NaN.

    Args:
        score: of the boxes that recall, precision and side are of.
    """

    found: list[Tensor]
    hands: Tensor

    def __init__(self, score: float = 0.4):
        super().__init__()
        self.score = score
        self.add_state("found", [], dist_reduce_fx="cat")  # rows: score, hit (0, 1), side is right (0, 1)
        self.add_state("hands", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, boxes: Tensor, sides: Tensor, scores: Tensor, gt_boxes: Tensor, gt_sides: Tensor) -> None:
        """Take an image.

        Args:
            boxes: [K, 4] centre x, y, width and height.
            sides: [K] int64.
            scores: [K].
            gt_boxes: [N, 4] likewise.
            gt_sides: [N] int64, below 0 for hands that may be found or not: boxes that hit them do not count.
        """
        counted = gt_sides >= 0
        self.hands += counted.sum()
        free = torch.ones(len(gt_boxes), dtype=torch.bool, device=gt_boxes.device)
        overlap = box_overlap(boxes, gt_boxes)
        rows = []
        for row in scores.argsort(descending=True, stable=True).tolist():
            candidates = overlap[row] * free
            hit = int(candidates.argmax()) if len(gt_boxes) else -1
            if hit < 0 or candidates[hit] < MIN_OVERLAP:
                rows.append([scores[row], 0.0, 0.0])
                continue
            free[hit] = False
            if counted[hit]:
                rows.append([scores[row], 1.0, float(sides[row] == gt_sides[hit])])
        # Of an image without boxes, too: processes join what they have by its columns.
        self.found.append(torch.tensor(rows, device=gt_boxes.device).reshape(-1, 3))

    def compute(self) -> dict[str, Tensor]:
        """Figures by name."""
        empty = torch.zeros(0, 3, device=self.device)
        found = torch.cat(self.found) if isinstance(self.found, list) and self.found else empty
        found = self.found if isinstance(self.found, Tensor) else found
        found = found[found[:, 0].argsort(descending=True, stable=True)]
        hits = found[:, 1].cumsum(0)
        recall = hits / self.hands
        precision = hits / torch.arange(1, len(found) + 1, device=found.device)
        envelope = precision.flip(0).cummax(0).values.flip(0) if len(found) else precision
        steps = torch.diff(recall, prepend=recall.new_zeros(1))
        sure = found[found[:, 0] >= self.score]
        return {
            "average_precision": (steps * envelope).sum() if self.hands else recall.new_tensor(torch.nan),
            "recall": sure[:, 1].sum() / self.hands,
            "precision": sure[:, 1].mean(),
            "side_accuracy": sure[sure[:, 1] > 0, 2].mean(),
        }


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """[K, N] common area by union of boxes [K, 4] and [N, 4], centre x, y, width and height."""
    low = torch.maximum((first[:, :2] - first[:, 2:] / 2)[:, None], second[:, :2] - second[:, 2:] / 2)
    high = torch.minimum((first[:, :2] + first[:, 2:] / 2)[:, None], second[:, :2] + second[:, 2:] / 2)
    common = (high - low).clamp(min=0).prod(-1)
    return common / (first[:, 2:].prod(-1)[:, None] + second[:, 2:].prod(-1) - common).clamp(min=1e-12)
