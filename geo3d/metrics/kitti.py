"""KITTI's object detection benchmark: average precision as its C++ evaluation computes it.

Geiger, Lenz, Urtasun: Are we ready for autonomous driving?, CVPR 2012; 40 recall positions: Simonelli et al., ICCV 2019.

- Objects of a class that are too small, occluded or truncated for the difficulty, and those of its neighbouring class (Van for Car,
  Person_sitting for Pedestrian), count neither as found nor as missed; a prediction with a rectangle that is too low does not count either.
- Regions marked DontCare excuse the predictions inside them, in the image alone: in space the regions have no boxes.
- Precision is read off at the scores whose recall is nearest to 0, 1/40, ... 1, one score for each position. With fewer than 41 objects
  there are fewer scores and the average stays below 1 even for perfect predictions: (n - 1) / 40 over 40 positions for n objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from geo3d.data.lidar.kitti_labels import DIFFICULTIES, KittiObjects
from geo3d.metrics.kitti_matching import POSITIONS, count_matches, matched_scores, recall_thresholds
from geo3d.ops import box_iou_3d, box_iou_rotated

MIN_OVERLAP = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
NEIGHBORS = {"Car": "Van", "Pedestrian": "Person_sitting"}
GRADES = ("easy", "moderate", "hard")
MEASURES = ("image", "bev", "3d")
NAMES = ("car", "van", "truck", "pedestrian", "person_sitting", "cyclist", "tram", "misc", "dontcare")
COLUMNS: dict[str, Any] = {
    "name": 0,
    "truncation": 1,
    "occlusion": 2,
    "alpha": 3,
    "rectangles": slice(4, 8),
    "boxes": slice(8, 15),
    "scores": 15,
}


def kitti_average_precision(
    gt: Sequence[KittiObjects],
    pred: Sequence[KittiObjects],
    min_overlap: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Average precision of each class, measure and difficulty.

    Args:
        gt: labels of each frame, with DontCare regions.
        pred: predictions of each frame, with scores; their rectangles are those of the projected boxes.
        min_overlap: overlap that a match must exceed for each class to evaluate; None: the benchmark's, 0.7 for Car and 0.5 for
            Pedestrian and Cyclist.

    Returns:
        Fractions in [0, 1] by names such as "Car_3d_moderate_R40" and "Car_bev_easy_R11", measures `3d`, `bev`, `image` (rectangles) and
        `aos` (rectangles, weighted by the cosine of the error of the observation angle), R40 and R11 recall positions. NaN for a
        class and difficulty without objects.

    Raises:
        ValueError: another number of frames, predictions without scores, or an unknown class.
    """
    if len(gt) != len(pred):
        raise ValueError(f"kitti_average_precision: gt and pred must be of the same frames, got {len(gt)} and {len(pred)}")
    return _average_precision(_Table.of(gt), _Table.of(_scored(pred)), MIN_OVERLAP if min_overlap is None else min_overlap)


class KittiAveragePrecision(Metric):
    """`kitti_average_precision` over batches and processes.

    Args:
        min_overlap: as there.
    """

    full_state_update = False
    gt_rows: list[Tensor]
    gt_counts: list[Tensor]
    pred_rows: list[Tensor]
    pred_counts: list[Tensor]

    def __init__(self, min_overlap: Mapping[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.min_overlap = MIN_OVERLAP if min_overlap is None else dict(min_overlap)
        for name in ("gt_rows", "gt_counts", "pred_rows", "pred_counts"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, gt: Sequence[KittiObjects], pred: Sequence[KittiObjects]) -> None:
        """Labels and predictions of the same frames.

        Raises:
            ValueError: another number of frames, or predictions without scores.
        """
        if len(gt) != len(pred):
            raise ValueError(f"KittiAveragePrecision: gt and pred must be of the same frames, got {len(gt)} and {len(pred)}")
        for kind, table in (("gt", _Table.of(gt)), ("pred", _Table.of(_scored(pred)))):
            getattr(self, f"{kind}_rows").append(torch.from_numpy(table.rows).to(self.device))
            getattr(self, f"{kind}_counts").append(torch.from_numpy(table.counts).to(self.device))

    def compute(self) -> dict[str, float]:
        """Average precisions by name, those of `kitti_average_precision`, over all frames since the last reset."""
        return _average_precision(
            _Table(_joined(self.gt_rows), _joined(self.gt_counts)),
            _Table(_joined(self.pred_rows), _joined(self.pred_counts)),
            self.min_overlap,
        )


@dataclass(frozen=True, eq=False)
class _Table:
    """Objects of all frames: rows [N, 16] float64 as COLUMNS says, and how many each frame has, [F] int64."""

    rows: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, frames: Sequence[KittiObjects]) -> _Table:
        rows = [np.zeros((0, 16))]
        for objects in frames:
            names = [NAMES.index(name.lower()) if name.lower() in NAMES else -1 for name in objects.names]
            scores = np.zeros(len(names)) if objects.scores is None else objects.scores
            columns = (
                names,
                objects.truncation,
                objects.occlusion,
                objects.alpha,
                objects.rectangles,
                objects.boxes_camera,
                scores,
            )
            rows.append(np.column_stack(columns).reshape(-1, 16).astype(np.float64))
        return cls(np.concatenate(rows), np.array([len(objects) for objects in frames], dtype=np.int64))

    def __getitem__(self, column: str) -> np.ndarray:
        return self.rows[:, COLUMNS[column]]

    @property
    def heights(self) -> np.ndarray:
        """[N] of the rectangles, pixels."""
        return self.rows[:, 7] - self.rows[:, 5]

    def frames(self) -> list[np.ndarray]:
        """Rows of each frame."""
        return np.split(self.rows, np.cumsum(self.counts)[:-1])

    def is_a(self, name: str) -> np.ndarray:
        return self["name"] == NAMES.index(name.lower())


def _average_precision(gt: _Table, pred: _Table, min_overlap: Mapping[str, float]) -> dict[str, float]:
    unknown = [name for name in min_overlap if name.lower() not in NAMES[:-1]]
    if unknown:
        raise ValueError(f"kitti_average_precision: classes must be KITTI's, got {unknown}")
    overlaps = _overlaps(gt, pred)
    alike = _per_frame(gt, pred, lambda d, g: (1 + np.cos(g[None, :, 3] - d[:, None, 3])) / 2)
    in_region = _share_in_regions(gt, pred)
    results: dict[str, float] = {}
    for name, least in min_overlap.items():
        for measure in MEASURES:
            excused = in_region > least if measure == "image" else np.zeros(len(in_region), np.bool_)
            for difficulty, limits in zip(GRADES, DIFFICULTIES, strict=True):
                gt_state, pred_state = _states(gt, pred, name, limits)
                counted = (np.cumsum(pred.counts), np.cumsum(gt.counts), pred_state, pred["scores"].copy(), gt_state)
                curves = _curves(overlaps[measure], alike, excused, counted, least)
                for kind, curve in zip((measure, "aos"), curves[: 2 if measure == "image" else 1], strict=False):
                    results[f"{name}_{kind}_{difficulty}_R40"] = float(curve[1:].mean())
                    results[f"{name}_{kind}_{difficulty}_R11"] = float(curve[::4].mean())
    return results


def _curves(
    overlaps: np.ndarray, alike: np.ndarray, excused: np.ndarray, counted: tuple[np.ndarray, ...], least: float
) -> np.ndarray:
    """Precision and orientation similarity at the recall positions, made falling: [2, 41], NaN if no object counts."""
    num_objects = int((counted[-1] == 0).sum())
    curves = np.full((2, POSITIONS), np.nan if num_objects == 0 else 0.0)
    thresholds = recall_thresholds(matched_scores(overlaps, *counted, least), num_objects)  # type: ignore[call-arg]
    if len(thresholds):
        true, false, similarity = count_matches(overlaps, *counted, excused, alike, least, thresholds).T  # type: ignore[call-arg]
        values = np.stack((true, similarity)) / np.maximum(true + false, 1)
        curves[:, : len(thresholds)] = np.maximum.accumulate(values[:, ::-1], 1)[:, ::-1]
    return curves


def _states(gt: _Table, pred: _Table, name: str, limits: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """States of objects [G] and of predictions [D], as `kitti_matching` describes them."""
    least_height, most_occluded, most_truncated = limits
    hard = (gt.heights < least_height) | (gt["occlusion"] > most_occluded) | (gt["truncation"] > most_truncated)
    gt_state = np.where(gt.is_a(name), hard.astype(np.int64), -1)
    if name in NEIGHBORS:
        gt_state[gt.is_a(NEIGHBORS[name])] = 1
    pred_state = np.where(pred.is_a(name), 0, -1)
    pred_state[np.abs(pred.heights) < least_height] = 1  # of any class, as in the benchmark
    return gt_state, pred_state


def _overlaps(gt: _Table, pred: _Table) -> dict[str, np.ndarray]:
    """Overlap of each prediction with each object of its frame by measure; see `kitti_matching` for the layout."""
    return {
        "image": _per_frame(gt, pred, lambda d, g: _rectangle_overlap(d[:, 4:8], g[:, 4:8])),
        "bev": _per_frame(gt, pred, lambda d, g: box_iou_rotated(_boxes(d), _boxes(g)).numpy()),
        "3d": _per_frame(gt, pred, lambda d, g: box_iou_3d(_boxes(d), _boxes(g)).numpy()),
    }


def _per_frame(gt: _Table, pred: _Table, pairwise: Any) -> np.ndarray:
    """pairwise(predictions [D, 16], objects [G, 16]) -> [D, G] of every frame, flat and joined."""
    pairs = zip(pred.frames(), gt.frames(), strict=True)
    return np.concatenate([np.zeros(0), *(pairwise(d, g).ravel() for d, g in pairs if len(d) and len(g))])


def _boxes(rows: np.ndarray) -> Tensor:
    """Boxes [N, 7] upright in a frame with the camera's right, forward and up; without a size where none is known (-1)."""
    x, y, z, length, height, width, turn = rows[:, 8:15].T
    return torch.from_numpy(np.column_stack((x, z, height / 2 - y, *np.maximum((length, width, height), 0), -turn)))


def _rectangle_overlap(a: np.ndarray, b: np.ndarray, of_first: bool = False) -> np.ndarray:
    """Intersection over union, or over the area of the first: rectangles [N, 4], [M, 4] left top right bottom -> [N, M]."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    whole = np.broadcast_to(area_a[:, None], shared.shape) if of_first else area_a[:, None] + area_b - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)


def _share_in_regions(gt: _Table, pred: _Table) -> np.ndarray:
    """Largest share of each prediction's rectangle that one DontCare region of its frame covers: [D]."""
    region = NAMES.index("dontcare")
    pairs = zip(pred.frames(), gt.frames(), strict=True)
    shares = [_rectangle_overlap(d[:, 4:8], g[g[:, 0] == region, 4:8], True).max(1, initial=0) for d, g in pairs]
    return np.concatenate([np.zeros(0), *shares])


def _scored(pred: Sequence[KittiObjects]) -> Sequence[KittiObjects]:
    for frame, objects in enumerate(pred):
        if len(objects.names) and objects.scores is None:
            raise ValueError(f"kitti_average_precision: predictions must have scores, those of frame {frame} have none")
    return pred


def _joined(parts: Iterable[Tensor] | Tensor) -> np.ndarray:
    """A state, which is one tensor after it was gathered from several processes."""
    return (parts if isinstance(parts, Tensor) else torch.cat(list(parts))).cpu().numpy()
