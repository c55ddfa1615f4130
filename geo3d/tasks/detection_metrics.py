"""What a detector is measured by: batches and their detections go in, figures by name come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from geo3d.data.lidar.detection import LidarBatch
from geo3d.data.lidar.kitti import KittiDataset, with_image_size
from geo3d.data.lidar.kitti_labels import KittiObjects, objects_from_boxes
from geo3d.data.lidar.nuscenes import NuScenesDataset
from geo3d.data.lidar.waymo import WaymoDataset
from geo3d.data.lidar.waymo_parquet import WaymoParquetDataset
from geo3d.metrics.box_recall import BoxRecall
from geo3d.metrics.kitti import GRADES, MIN_OVERLAP, KittiAveragePrecision
from geo3d.metrics.nuscenes import CLASSES, NuScenesDetectionScore
from geo3d.metrics.nuscenes_results import nuscenes_detections, write_results
from geo3d.metrics.waymo import WAYMO_OVERLAP, WaymoAveragePrecision, waymo_levels
from geo3d.models.detection import Detections

MetricName = Literal["kitti", "nuscenes", "recall", "waymo"]


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


class WaymoFrames(nn.Module):
    """Waymo's average precision, with and without headings, of levels 1 and 2.

    Args:
        frames: the data set that the batches come from, whose labels say how many points each object has.
    """

    monitor = "mAPH_L2"

    def __init__(self, frames: WaymoDataset | WaymoParquetDataset) -> None:
        super().__init__()
        self.precision = WaymoAveragePrecision(_of_benchmark("waymo", frames.class_names, WAYMO_OVERLAP))

    def update(self, batch: LidarBatch, found: Sequence[Detections]) -> None:
        """Boxes of the batch's frames against detections."""
        levels = waymo_levels(batch.num_points, batch.difficulty)
        for frame, each in enumerate(found):
            mine = batch.box_batch_index == frame
            self.precision.update(batch.boxes[mine], batch.labels[mine], levels[mine], each.boxes, each.labels, each.scores)

    def compute(self) -> dict[str, float]:
        """Figures of `WaymoAveragePrecision` by name; classes without objects are left out, and the monitored mean is 0 without any."""
        known = {name: value for name, value in self.precision.compute().items() if math.isfinite(value)}
        return {self.monitor: 0.0, **known}

    def reset(self) -> None:
        self.precision.reset()


class NuScenesFrames(nn.Module):
    """nuScenes' detection score of the data set's own annotations.

    Args:
        frames: the data set that the batches come from.
    """

    monitor = "NDS"

    def __init__(self, frames: NuScenesDataset) -> None:
        super().__init__()
        _of_benchmark("nuscenes", frames.class_names, dict.fromkeys(CLASSES))
        self.frames = frames
        self.rows = {frame: row for row, frame in enumerate(frames.frames)}
        self.score = NuScenesDetectionScore()

    def update(self, batch: LidarBatch, found: Sequence[Detections]) -> None:
        """Annotations of the batch's key frames against detections."""
        for frame, each in zip(batch.frames, found, strict=True):
            row = self.rows[frame]
            names = [self.frames.class_names[label] for label in each.labels.tolist()]
            moved = nuscenes_detections(each.boxes, each.scores, names, self.frames.global_from_lidar(row))
            self.score.update(row, self.frames.objects(row), moved)

    def compute(self) -> dict[str, float]:
        """Figures of `NuScenesDetectionScore` by name."""
        return self.score.compute()

    def reset(self) -> None:
        self.score.reset()

    def write(self, path: str | Path, is_writer: bool) -> None:
        """Write the detections of the epoch as the benchmark takes them; all processes take part, one of them writes."""
        with self.score.sync_context():
            if is_writer:
                write_results(path, self.score.results(self.frames.frames))


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
        """Fractions by names such as "recall_0.5"; 0 where there was no true box."""
        return {name: value if math.isfinite(value) else 0.0 for name, value in self.recall.compute().items()}

    def reset(self) -> None:
        self.recall.reset()


@dataclass(frozen=True)
class MetricKind:
    """A metric by its class, the data sets that it is for, and how to call those."""

    kind: Callable[[Any], DetectionMetric]
    frames: tuple[type, ...]
    data: str
    monitor: str


METRICS: dict[str, MetricKind] = {
    "kitti": MetricKind(KittiFrames, (KittiDataset,), "data in KITTI's format", KittiFrames.monitor),
    "nuscenes": MetricKind(NuScenesFrames, (NuScenesDataset,), "nuScenes", NuScenesFrames.monitor),
    "recall": MetricKind(lambda frames: Recall(), (object,), "all data", Recall.monitor),
    "waymo": MetricKind(WaymoFrames, (WaymoDataset, WaymoParquetDataset), "Waymo", WaymoFrames.monitor),
}


def make_metrics(names: Sequence[MetricName], frames: object) -> list[Any]:
    """Metrics by name, for the frames of a data set.

    Raises:
        ValueError: no metric, or one that is not for this data set.
    """
    if not names:
        raise ValueError(f"Detection: metrics must name at least one of {', '.join(METRICS)}")
    metrics = []
    for name in names:
        metric = METRICS[name]
        if not isinstance(frames, metric.frames):
            raise ValueError(f"Detection: metrics: {name} is for {metric.data}, got {type(frames).__name__}")
        metrics.append(metric.kind(frames))
    return metrics


def _of_benchmark(metric: str, class_names: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of the classes in their order; raises ValueError for one that the benchmark does not have."""
    unknown = [name for name in class_names if name not in known]
    if unknown:
        raise ValueError(f"metrics: {metric} evaluates {', '.join(known)}; the data has {unknown[0]}")
    return {name: known[name] for name in class_names}


def boxes_by_frame(batch: LidarBatch) -> list[Tensor]:
    """True boxes [K_b, 7 or 9] of each frame."""
    return [batch.boxes[batch.box_batch_index == frame] for frame in range(batch.batch_size)]
