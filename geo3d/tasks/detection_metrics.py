"""What a detector is measured by: batches and their detections go in, figures by name come out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Protocol

from torch import Tensor, nn

from geo3d.data.detection import LidarBatch
from geo3d.data.kitti import KittiDataset, with_image_size
from geo3d.data.kitti_labels import KittiObjects, objects_from_boxes
from geo3d.metrics.box_recall import BoxRecall
from geo3d.metrics.kitti import GRADES, MIN_OVERLAP, KittiAveragePrecision
from geo3d.models.detection import Detections

MetricName = Literal["kitti", "recall"]


class DetectionMetric(Protocol):
    """A metric over the frames of an epoch, on the device that it was moved to."""

    monitor: str  # the figure that tells the best network

    def update(self, batch: LidarBatch, found: Sequence[Detections]) -> None: ...

    def compute(self) -> dict[str, float]: ...

    def reset(self) -> None: ...


class KittiFrames(nn.Module):
    """KITTI's average precision (40 recall positions) of the data set's own labels, which say what is too hard to count.

    Args:
        frames: the data set that the batches come from.
    """

    monitor = "mean_3d_moderate_R40"

    def __init__(self, frames: KittiDataset) -> None:
        super().__init__()
        self.frames = frames
        self.rows = {frame: row for row, frame in enumerate(frames.frames)}
        self.classes = [name for name in frames.class_names if name in MIN_OVERLAP]
        if not self.classes:
            raise ValueError(f"metrics: kitti evaluates {', '.join(MIN_OVERLAP)}; the data has {', '.join(frames.class_names)}")
        self.precision = KittiAveragePrecision({name: MIN_OVERLAP[name] for name in self.classes})

    def update(self, batch: LidarBatch, found: Sequence[Detections]) -> None:
        """Labels of the batch's frames against detections; those that the image does not show do not count."""
        rows = [self.rows[frame] for frame in batch.frames]
        lines = [self._lines(row, detections) for row, detections in zip(rows, found, strict=True)]
        self.precision.update([self.frames.objects(row) for row in rows], lines)

    def compute(self) -> dict[str, float]:
        """Fractions by names such as "Car_3d_moderate_R40", those of classes without objects left out, and the mean over the
        classes of the moderate ones in space, 0 if there are none at all."""
        results = self.precision.compute()
        names = [f"{name}_{kind}_{grade}_R40" for name in self.classes for kind in ("3d", "bev") for grade in GRADES]
        known = {name: results[name] for name in names if math.isfinite(results[name])}
        moderate = [value for name, value in known.items() if "_3d_moderate_" in name]
        return {self.monitor: sum(moderate) / max(len(moderate), 1), **known}

    def reset(self) -> None:
        self.precision.reset()

    def _lines(self, row: int, found: Detections) -> KittiObjects:
        found = found.to("cpu")
        names = [self.frames.class_names[label] for label in found.labels.tolist()]
        return objects_from_boxes(found.boxes, names, with_image_size(self.frames.camera(row)), found.scores)


class Recall(nn.Module):
    """Share of all true boxes, whatever their class and distance, that some detection overlaps."""

    monitor = "recall_0.5"

    def __init__(self) -> None:
        super().__init__()
        self.recall = BoxRecall()

    def update(self, batch: LidarBatch, found: Sequence[Detections]) -> None:
        """Boxes of the batch's frames against detections."""
        self.recall.update(boxes_by_frame(batch), [detections.boxes for detections in found])

    def compute(self) -> dict[str, float]:
        """As `BoxRecall`, 0 where there was no true box."""
        return {name: value if math.isfinite(value) else 0.0 for name, value in self.recall.compute().items()}

    def reset(self) -> None:
        self.recall.reset()


def make_metrics(names: Sequence[MetricName], frames: object) -> list[KittiFrames | Recall]:
    """Metrics by name, for the frames of a data set.

    Raises:
        ValueError: no metric, or one that is not for this data set.
    """
    if not names:
        raise ValueError("Detection: metrics must name at least one of kitti, recall")
    metrics: list[KittiFrames | Recall] = []
    for name in names:
        if name == "kitti" and not isinstance(frames, KittiDataset):
            raise ValueError(f"Detection: metrics: kitti is for data in KITTI's format, got {type(frames).__name__}")
        metrics.append(KittiFrames(frames) if isinstance(frames, KittiDataset) and name == "kitti" else Recall())
    return metrics


def boxes_by_frame(batch: LidarBatch) -> list[Tensor]:
    """True boxes [K_b, 7 or 9] of each frame."""
    return [batch.boxes[batch.box_batch_index == frame] for frame in range(batch.batch_size)]
