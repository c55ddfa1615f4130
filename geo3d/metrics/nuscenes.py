"""nuScenes' detection score: average precision by distance of centres, errors of what is found, and their sum.

Caesar et al.: nuScenes, CVPR 2020; settings of the challenge of 2019, figures as those of nuscenes-devkit 1.2, which asks for numpy below 2 and
so does not install beside geo3d.

- Objects without LiDAR and radar points, beyond the distance from the car that their class is evaluated to, and bicycles and motorcycles in
  bicycle racks do not count; nor do detections there.
- The detections of a class, the surest first, take the nearest object of their frame that is left, if it is within 0.5, 1, 2 or 4 m in the plane.
- Average precision is the mean of what precision exceeds 0.1 by at the recalls 0.11, 0.12, ... 1, over 0.9.
- Errors are those of matches within 2 m: of centre, size, yaw, velocity and attribute, running means by score, averaged over the recalls from
  0.11 to the highest; 1 where that is not reached.
- NDS = (5 mAP + sum of 1 - min(1, error)) / 10. All ten classes are in the means, whether there are objects of them or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torchmetrics import Metric

from geo3d.data.lidar.nuscenes import NuScenesObjects
from geo3d.geometry.boxes import wrap_angle
from geo3d.metrics.nuscenes_results import ATTRIBUTES, NuScenesDetections, result_entries
from geo3d.ops import points_in_boxes

MAX_DISTANCE = {  # metres from the car, in the plane
    **dict.fromkeys(("car", "truck", "bus", "trailer", "construction_vehicle"), 50.0),
    **dict.fromkeys(("pedestrian", "motorcycle", "bicycle"), 40.0),
    **dict.fromkeys(("traffic_cone", "barrier"), 30.0),
}
CLASSES = tuple(MAX_DISTANCE)
DISTANCES = (0.5, 1.0, 2.0, 4.0)
ERROR_DISTANCE = 2.0
MIN_PRECISION = 0.1  # recall and precision below count as noise
RECALLS = np.linspace(0, 1, 101)
FIRST = round(100 * MIN_PRECISION) + 1
ERRORS = ("mATE", "mASE", "mAOE", "mAVE", "mAAE")
WITHOUT = {"traffic_cone": ("mAOE", "mAVE", "mAAE"), "barrier": ("mAVE", "mAAE")}  # errors that mean nothing there
IN_RACKS = ("bicycle", "motorcycle")
RACK = "static_object.bicycle_rack"
# Columns of rows: class, attribute, score, 1 where it counts, box.
CLASS, ATTRIBUTE, SCORE, COUNTS, BOX = 0, 1, 2, 3, slice(4, 13)


class NuScenesDetectionScore(Metric):
    """Mean average precision, mean errors and NDS over key frames and processes. A frame that comes twice counts once."""

    full_state_update = False
    frames: list[Tensor]
    gt_rows: list[Tensor]
    gt_counts: list[Tensor]
    pred_rows: list[Tensor]
    pred_counts: list[Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in ("frames", "gt_rows", "gt_counts", "pred_rows", "pred_counts"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, frame: int, gt: NuScenesObjects, pred: NuScenesDetections) -> None:
        """One key frame.

        Args:
            frame: its number, the same in every process.
            gt: its annotations.
            pred: its detections.
        """
        racks = gt.boxes[gt.names == RACK]
        known = np.isin(gt.names, CLASSES)
        near = _in_reach(gt.boxes, gt.names, gt.position, racks)
        gt_columns = (gt.attributes, np.zeros(len(near)), near & (gt.num_points > 0), gt.boxes)
        rows = _rows(gt.names, *gt_columns)[known]
        near = _in_reach(pred.boxes, pred.names, gt.position, racks)
        pred_rows = _rows(pred.names, pred.attributes, pred.scores, near, pred.boxes)
        self.frames.append(torch.tensor([frame], device=self.device))
        for kind, table in (("gt", rows), ("pred", pred_rows)):
            getattr(self, f"{kind}_rows").append(torch.from_numpy(table).to(self.device))
            getattr(self, f"{kind}_counts").append(torch.tensor([len(table)], device=self.device))

    def compute(self) -> dict[str, float]:
        """The score "NDS", "mAP", the mean errors "mATE" (m), "mASE" (1 - IoU of sizes), "mAOE" (radians), "mAVE" (m/s) and "mAAE"
        (share), and the average precision of each class by names such as "car_AP"."""
        gt, pred = self._table("gt"), self._table("pred")
        precisions, errors = {}, {}
        for label, name in enumerate(CLASSES):
            (gt_frames, own), (pred_frames, mine) = (_of_class(label, *table) for table in (gt, pred))
            curves = [_Curve(own, mine, gt_frames, pred_frames, name, distance) for distance in DISTANCES]
            precisions[name] = float(np.mean([curve.average_precision() for curve in curves]))
            errors[name] = curves[DISTANCES.index(ERROR_DISTANCE)].mean_errors()
        means: dict[str, float] = {}
        for error in ERRORS:
            means[error] = float(np.mean([errors[name][error] for name in CLASSES if error not in WITHOUT.get(name, ())]))
        mean_precision = float(np.mean(list(precisions.values())))
        score = (5 * mean_precision + sum(1 - min(1.0, error) for error in means.values())) / 10
        return {"NDS": score, "mAP": mean_precision, **means, **{f"{name}_AP": value for name, value in precisions.items()}}

    def results(self, tokens: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Entries of every frame for the file of results (`write_results`), the frames named by `tokens`."""
        owners, rows = self._table("pred")
        names, attributes = np.array(CLASSES)[rows[:, CLASS].astype(int)], np.array(ATTRIBUTES)[rows[:, ATTRIBUTE].astype(int)]
        entries = {}
        for frame in np.unique(_joined(self.frames)):
            mine = slice(*np.searchsorted(owners, (frame, frame + 1)))
            pred = NuScenesDetections(rows[mine, BOX], names[mine], attributes[mine], rows[mine, SCORE])
            entries[tokens[frame]] = result_entries(tokens[frame], pred)
        return entries

    def _table(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Frame [N] of each row, and rows [N, 13] in the order of frames; each frame once."""
        if not len(self.frames):
            return np.zeros(0, np.int64), np.zeros((0, 13))
        frames = _joined(self.frames)
        rows, counts = _joined(getattr(self, f"{kind}_rows")), _joined(getattr(self, f"{kind}_counts"))
        parts = np.split(rows, np.cumsum(counts)[:-1])
        frames, first = np.unique(frames, return_index=True)
        return np.repeat(frames, counts[first]), np.concatenate([parts[part] for part in first])


class _Curve:
    """Precision, score and errors over recall, of one class at one distance."""

    def __init__(
        self,
        gt: np.ndarray,
        pred: np.ndarray,
        gt_frames: np.ndarray,
        pred_frames: np.ndarray,
        name: str,
        distance: float,
    ) -> None:
        order = np.argsort(pred[:, SCORE], kind="stable")[::-1]
        pred, pred_frames = pred[order], pred_frames[order]
        starts, ends = (np.searchsorted(gt_frames, pred_frames, side) for side in ("left", "right"))
        match = _nearest_left(pred[:, 4:6].copy(), gt[:, 4:6].copy(), starts, ends, distance)
        is_right = match >= 0
        self.precision, self.score = np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
        self.errors: dict[str, np.ndarray] = {}
        if not is_right.any():
            return
        right = is_right.cumsum()
        recall = right / len(gt)
        self.precision = np.interp(RECALLS, recall, right / np.arange(1, len(pred) + 1), right=0)
        self.score = np.interp(RECALLS, recall, pred[:, SCORE], right=0)
        scores = pred[is_right, SCORE][::-1]
        for error, values in _errors(pred[is_right], gt[match[is_right]], name).items():
            self.errors[error] = np.interp(self.score[::-1], scores, _running_mean(values)[::-1])[::-1]

    def average_precision(self) -> float:
        return float((self.precision[FIRST:] - MIN_PRECISION).clip(0).mean() / (1 - MIN_PRECISION))

    def mean_errors(self) -> dict[str, float]:
        reached = np.flatnonzero(self.score)
        last = reached[-1] if len(reached) else 0
        if last < FIRST:
            return dict.fromkeys(ERRORS, 1.0)
        return {error: float(values[FIRST : last + 1].mean()) for error, values in self.errors.items()}


@njit(cache=True, nogil=True)
def _nearest_left(pred, gt, starts, ends, distance):
    """The object [N] that each detection takes in its turn, -1 for none: found [N, 2], truth [G, 2], of which rows starts..ends are in
    the detection's frame."""
    match = np.full(len(pred), -1, np.int64)
    taken = np.zeros(len(gt), np.bool_)
    for d in range(len(pred)):
        best, least = -1, np.inf
        for g in range(starts[d], ends[d]):
            if not taken[g]:
                away = np.sqrt((pred[d, 0] - gt[g, 0]) ** 2 + (pred[d, 1] - gt[g, 1]) ** 2)
                if away < least:
                    best, least = g, away
        if least < distance:
            match[d] = best
            taken[best] = True
    return match


def _errors(pred: np.ndarray, gt: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Errors [N] of matches, NaN where the annotation does not tell."""
    a, b = pred[:, BOX], gt[:, BOX]
    shared = np.minimum(a[:, 3:6], b[:, 3:6]).prod(1)
    period = np.pi if name == "barrier" else 2 * np.pi  # front and back of a barrier are alike
    turn = np.abs(wrap_angle((a[:, 6] - b[:, 6]) * (2 * np.pi / period))) * period / (2 * np.pi)
    return {
        "mATE": np.hypot(*(a[:, :2] - b[:, :2]).T),
        "mASE": 1 - shared / (a[:, 3:6].prod(1) + b[:, 3:6].prod(1) - shared),
        "mAOE": turn,
        "mAVE": np.hypot(*(a[:, 7:9] - b[:, 7:9]).T),
        "mAAE": np.where(gt[:, ATTRIBUTE] == 0, np.nan, pred[:, ATTRIBUTE] != gt[:, ATTRIBUTE]),
    }


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean up to each place of what is not NaN, 0 before the first of them; 1 everywhere where all are NaN."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    return np.nancumsum(values) / np.maximum(known.cumsum(), 1)


def _in_reach(boxes: np.ndarray, names: np.ndarray, position: np.ndarray, racks: np.ndarray) -> np.ndarray:
    """[K] bool: near enough to the car for its class, and not in a bicycle rack."""
    farthest = np.array([MAX_DISTANCE.get(name, 0.0) for name in names.tolist()])
    near = np.sqrt(((boxes[:, :2] - position[:2]) ** 2).sum(1)) < farthest
    if len(racks):
        centers, places = (torch.from_numpy(np.ascontiguousarray(each)) for each in (boxes[:, :3], racks[:, :7]))
        near &= ~((points_in_boxes(centers, places).numpy() >= 0) & np.isin(names, IN_RACKS))
    return near


def _rows(names: np.ndarray, attributes: np.ndarray, scores: np.ndarray, counts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    labels = [CLASSES.index(name) if name in MAX_DISTANCE else -1 for name in names.tolist()]
    numbers = [ATTRIBUTES.index(name) for name in attributes.tolist()]
    return np.column_stack((labels, numbers, scores, counts, boxes)).reshape(-1, 13)


def _of_class(label: int, frames: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and rows of what counts of a class."""
    mine = (rows[:, CLASS] == label) & (rows[:, COUNTS] == 1)
    return frames[mine], rows[mine]


def _joined(parts: Sequence[Tensor] | Tensor) -> np.ndarray:
    """A state, which is one tensor after it was gathered from several processes."""
    return (parts if isinstance(parts, Tensor) else torch.cat(list(parts))).cpu().numpy()
