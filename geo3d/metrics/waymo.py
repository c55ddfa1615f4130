"""Waymo's benchmark of 3D detection: average precision, and the same weighted by the accuracy of the heading.

Sun et al.: Scalability in Perception for Autonomous Driving: Waymo Open Dataset, CVPR 2020; settings and figures as those of
waymo-open-dataset 1.6 (metrics/detection_metrics.cc, matcher.cc, metrics_utils.cc).

- At each of 101 least scores, 0, 0.01, ... 1, predictions and objects of a class are matched one to one within a frame so that the sum of
  their IoU in space is the largest, without pairs of less IoU than the class asks for.
- Level 1 has the objects with more than 5 points that are not annotated as level 2, level 2 all with a point. An object of level 2 that nothing
  matches is not missed at level 1; a prediction that does match it is right at both. Objects without points are as if not there.
- A right prediction weighs 1 - |error of the heading| / pi in APH, in precision but not in recall.
- Precision at a recall is the highest at that recall or beyond. Between two points on the curve it is taken from the farther one in steps of 0.05
  as long as they are more than that apart, and in a straight line in the rest. Below the lowest recall it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torchmetrics import Metric

from geo3d.geometry.boxes import wrap_angle
from geo3d.ops import box_iou_3d

WAYMO_OVERLAP = {"Vehicle": 0.7, "Pedestrian": 0.5, "Sign": 0.5, "Cyclist": 0.5}
LEVELS = (1, 2)
CUTOFFS = np.append(0.01 * np.arange(100), 1.0).astype(np.float32)  # as the scores, so that 0.3 is not below 0.3
LEVEL_2_POINTS = 5  # at most
MAX_STEP = 0.05  # of recall, over which precision is interpolated
MIN_SIDE = 0.01  # metres; boxes that are not longer, wider or higher overlap with nothing


def waymo_levels(num_points: Tensor, difficulty: Tensor) -> Tensor:
    """Levels [K] int64, 1 or 2, or 0 for objects that do not count.

    Args:
        num_points: [K] points in each box as annotated.
        difficulty: [K] as annotated: 1 or 2, or 0 where the number of points decides.

    Raises:
        ValueError: an unknown number of points, which data sets mark by -1.
    """
    if bool((num_points < 0).any()):
        raise ValueError("waymo_levels: num_points must be known, got -1")
    by_points = torch.where(num_points > LEVEL_2_POINTS, 1, 2)
    return torch.where(difficulty > 0, difficulty, by_points) * (num_points > 0)


class WaymoAveragePrecision(Metric):
    """Average precision of each class and level over frames and processes.

    Args:
        min_overlap: least IoU of a match for each class, in the order of the labels; None: the benchmark's 0.7 for Vehicle, 0.5 for
            Pedestrian and for Cyclist.
    """

    full_state_update = False
    counts: Tensor  # [C, 101, 4] predictions, matches, their summed accuracy of the heading, matches with objects of level 1
    objects: Tensor  # [C, 2] of level 1, of both levels

    def __init__(self, min_overlap: Mapping[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        if min_overlap is None:
            min_overlap = {name: WAYMO_OVERLAP[name] for name in ("Vehicle", "Pedestrian", "Cyclist")}
        self.min_overlap = dict(min_overlap)
        classes = len(self.min_overlap)
        self.add_state("counts", torch.zeros(classes, len(CUTOFFS), 4, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("objects", torch.zeros(classes, len(LEVELS), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, boxes: Tensor, labels: Tensor, levels: Tensor, pred_boxes: Tensor, pred_labels: Tensor, scores: Tensor
    ) -> None:
        """Objects and predictions of one frame, either of which may be none.

        Args:
            boxes: [G, 7 or more] of the ground truth.
            labels: [G] classes, counted as in `min_overlap`.
            levels: [G] 1 or 2, or 0 for objects that do not count; see `waymo_levels`.
            pred_boxes: [D, 7 or more] predicted boxes.
            pred_labels: [D] their classes.
            scores: [D] in [0, 1].

        Raises:
            ValueError: lengths that do not fit.
        """
        if not len(boxes) == len(labels) == len(levels) or not len(pred_boxes) == len(pred_labels) == len(scores):
            lengths = [len(each) for each in (boxes, labels, levels, pred_boxes, pred_labels, scores)]
            raise ValueError(f"WaymoAveragePrecision: lengths must be G, G, G, D, D, D, got {lengths}")
        for label, least in enumerate(self.min_overlap.values()):
            mine, pred = (labels == label) & (levels > 0), pred_labels == label
            level = levels[mine].cpu().numpy()
            counts = _count(boxes[mine], level, pred_boxes[pred], scores[pred].float().cpu().numpy(), least)
            self.counts[label] += torch.from_numpy(counts).to(self.counts)
            self.objects[label] += torch.tensor([int((level <= each).sum()) for each in LEVELS], device=self.objects.device)

    def compute(self) -> dict[str, float]:
        """Fractions by names such as "Vehicle_AP_L1" and "Vehicle_APH_L2", NaN for a class without objects of the level, and "mAP_L1"
        to "mAPH_L2", their means over the other classes, NaN without any."""
        results: dict[str, float] = {}
        for level in LEVELS:
            for label, name in enumerate(self.min_overlap):
                objects = int(self.objects[label, level - 1])
                predicted, matched, accuracy, matched_1 = self.counts[label].cpu().numpy().T
                missed = objects - (matched_1 if level == 1 else matched)
                recall = matched / np.maximum(matched + missed, 1)
                for kind, right in (("AP", matched), ("APH", accuracy)):
                    value = area_under_curve(right / np.maximum(predicted, 1), recall) if objects else np.nan
                    results[f"{name}_{kind}_L{level}"] = value
            for kind in ("AP", "APH"):
                known = [results[f"{name}_{kind}_L{level}"] for name in self.min_overlap]
                known = [value for value in known if not np.isnan(value)]
                results[f"m{kind}_L{level}"] = float(np.mean(known)) if known else float("nan")
        return results


def area_under_curve(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under precision over recall as the module's text describes it: precision [T] and recall [T] at T scores in any order."""
    order = np.argsort(-recall, kind="stable")
    highest = np.maximum.accumulate(precision[order])
    recall = recall[order]
    last = np.append(recall[1:] != recall[:-1], True) & (recall > 0)  # of each recall, after which the highest is known
    highest, recall = highest[last], recall[last]
    if not len(recall):
        return 0.0
    nearer = np.append(highest[1:], highest[-1])
    width = recall - np.append(recall[1:], 0)
    steps = np.ceil((width - 1e-6) / MAX_STEP - 1).clip(0)
    return float((width * highest + (width - steps * MAX_STEP) * (nearer - highest) / 2).sum())


def _count(boxes: Tensor, levels: np.ndarray, pred: Tensor, scores: np.ndarray, least: float) -> np.ndarray:
    """[101, 4] as `WaymoAveragePrecision.counts`, of one frame and class."""
    ends = np.searchsorted(CUTOFFS, scores, side="right")  # a prediction is there at the cut-offs before
    counts = np.zeros((len(CUTOFFS) + 1, 4))  # changes from one cut-off to the next, summed up in the end
    counts[0, 0] = len(pred)
    np.add.at(counts[:, 0], ends, -1)
    overlap = _overlaps(pred, boxes)
    rows = _matches(np.where(overlap >= least, overlap, 0), ends)
    if len(rows):
        d, g, first, end = rows.T
        error = wrap_angle(pred[:, 6].double().cpu().numpy()[d] - boxes[:, 6].double().cpu().numpy()[g])
        values = np.stack((np.ones(len(d)), 1 - np.abs(error) / np.pi, levels[g] == 1), 1)
        np.add.at(counts[:, 1:], first, values)
        np.add.at(counts[:, 1:], end, -values)
    return counts.cumsum(0)[:-1]


def _overlaps(pred: Tensor, boxes: Tensor) -> np.ndarray:
    """IoU in space [D, G]."""
    pred, boxes = pred[:, :7].double(), boxes[:, :7].double()
    solid = [(each[:, 3:6] > MIN_SIDE).all(1) for each in (pred, boxes)]
    return (box_iou_3d(pred, boxes) * (solid[0][:, None] & solid[1])).cpu().numpy()


def _matches(overlap: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Matches of the largest summed overlap among the predictions that are left at each cut-off.

    Args:
        overlap: [D, G], 0 where a match is not allowed.
        ends: [D] number of cut-offs that each prediction passes.

    Returns:
        [M, 4] int64 prediction, object, first cut-off and the one after the last. The matching falls apart into those of predictions and
        objects that are linked by overlaps, most of which are a pair.
    """
    d, g = np.nonzero(overlap)
    if not len(d):
        return np.zeros((0, 4), np.int64)
    size = sum(overlap.shape)
    _, group = connected_components(coo_array((np.ones(len(d)), (d, g + len(overlap))), shape=(size, size)), directed=False)
    link_group = group[d]
    alone = np.bincount(link_group, minlength=size)[link_group] == 1
    rows = [np.stack((d[alone], g[alone], np.zeros(alone.sum(), np.int64), ends[d[alone]]), 1)]
    for each in np.unique(link_group[~alone]):
        predictions, objects = np.unique(d[link_group == each]), np.unique(g[link_group == each])
        first = 0
        for end in np.unique(ends[predictions]):
            left = predictions[ends[predictions] >= end]
            values = overlap[np.ix_(left, objects)]
            i, j = linear_sum_assignment(values, maximize=True)
            i, j = i[values[i, j] > 0], j[values[i, j] > 0]
            rows.append(np.stack((left[i], objects[j], np.full(len(i), first), np.full(len(i), end)), 1))
            first = end
    return np.concatenate(rows)
