"""Scores of reconstructed voxel grids as the evaluation of LRGT (ICCV 2023, section 4.1) has them: IoU at thresholds, F-score at 1 %.

Grids are indexed z, y, x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from geo3d.metrics.voxel_surfaces import surface_f_score

THRESHOLDS = (0.3, 0.4, 0.5)  # of the published evaluation, whose figure is the best of the three means


def voxel_iou(occupancy: Tensor, target: Tensor, thresholds: Sequence[float] = THRESHOLDS) -> Tensor:
    """Intersection over union of each sample, where a voxel is full from the threshold on.

    Args:
        occupancy: [B, D, H, W] in [0, 1].
        target: [B, D, H, W] bool, or numbers, full above 0.
        thresholds: T numbers.

    Returns:
        [B, T] float32; 1 where both grids are empty.

    Raises:
        ValueError: shapes that differ.
    """
    if occupancy.ndim != 4 or occupancy.shape != target.shape:
        raise ValueError(
            f"voxel_iou: occupancy and target must be [B, D, H, W] alike, got {list(occupancy.shape)} and {list(target.shape)}"
        )
    is_true = (target > 0).flatten(1)
    scores = []
    for threshold in thresholds:
        is_full = (occupancy >= threshold).flatten(1)
        union = (is_full | is_true).sum(1)
        scores.append(torch.where(union > 0, (is_full & is_true).sum(1) / union.clamp(min=1), 1.0))
    return torch.stack(scores, 1)


class ReconstructionScores(Metric):
    """Mean IoU at thresholds, overall and by category, and the F-score at 1 % where it is asked for.

    A sample that two processes were given counts once.

    Args:
        num_categories: C.
        thresholds: of the IoU.
        f_score_threshold: of the grids whose F-score is measured, which takes a tenth of a second a sample and needs Open3D; none is
            when None.
    """

    full_state_update = False
    keys: list[Tensor]
    categories: list[Tensor]
    ious: list[Tensor]
    f_scores: list[Tensor]

    def __init__(
        self,
        num_categories: int,
        thresholds: Sequence[float] = THRESHOLDS,
        f_score_threshold: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not thresholds:
            raise ValueError("ReconstructionScores: expected at least one threshold, got none")
        self.num_categories = num_categories
        self.thresholds = tuple(thresholds)
        self.f_score_threshold = f_score_threshold
        for name in ("keys", "categories", "ious", "f_scores"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, occupancy: Tensor, target: Tensor, categories: Tensor, keys: Tensor) -> None:
        """occupancy and target [B, D, H, W] as for `voxel_iou`; category and a number that tells samples apart, both [B] int64."""
        self.ious.append(voxel_iou(occupancy, target, self.thresholds))
        self.categories.append(categories)
        self.keys.append(keys)
        if self.f_score_threshold is not None:
            full = (occupancy >= self.f_score_threshold).cpu().numpy()
            true = (target > 0).cpu().numpy()
            scores = [surface_f_score(a, b, seed=int(key)) for a, b, key in zip(full, true, keys, strict=True)]
            self.f_scores.append(torch.tensor(scores, device=keys.device))

    def compute(self) -> dict[str, Tensor]:
        """Means over all samples, NaN without any.

        `iou`, the largest of the overall IoUs, `iou_T` for each threshold T, `iou_by_category` [C, T], NaN for a category that did not
        occur, and `f_score`, `f_score_by_category` [C].
        """
        keys, categories, ious = (_joined(values) for values in (self.keys, self.categories, self.ious))
        first = _first_of_each(keys)
        categories, ious = categories[first], ious[first].reshape(-1, len(self.thresholds))
        overall = ious.double().mean(0)
        results = {"iou": overall.max(), "iou_by_category": self._by_category(ious, categories)}
        results |= {f"iou_{threshold:g}": value for threshold, value in zip(self.thresholds, overall, strict=True)}
        if self.f_score_threshold is not None:
            scores = _joined(self.f_scores)[first]
            results["f_score"] = scores.double().mean()
            results["f_score_by_category"] = self._by_category(scores[:, None], categories)[:, 0]
        return {name: value.float() for name, value in results.items()}

    def _by_category(self, values: Tensor, categories: Tensor) -> Tensor:
        sums = values.new_zeros(self.num_categories, values.shape[1], dtype=torch.float64).index_add_(
            0, categories, values.double()
        )
        return sums / torch.bincount(categories, minlength=self.num_categories)[:, None]


def _joined(values: list[Tensor] | Tensor) -> Tensor:
    """What is collected, which two processes have joined already."""
    if isinstance(values, Tensor):
        return values
    return torch.cat(values) if values else torch.zeros(0, dtype=torch.int64)


def _first_of_each(keys: Tensor) -> Tensor:
    found = np.unique(keys.cpu().numpy(), return_index=True)[1]
    return torch.from_numpy(np.sort(found)).to(keys.device)
