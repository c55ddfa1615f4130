"""Boxes of detectors: detections of one sample, ground truth of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found in one sample; K may be 0.

    Attributes:
        boxes: [K, 7] x, y, z, dx, dy, dz, yaw or [K, 9] with vx, vy behind: metres, radians and metres per second in the frame of the
            points, (x, y, z) the centre, dx along the heading, yaw counter-clockwise from +x about +z in [-pi, pi].
        scores: [K] in [0, 1].
        labels: [K] int64 classes from 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: Tensor | slice) -> Detections:
        """The chosen ones: indices [R] int64, a mask [K] bool or a slice."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def to(self, device: torch.device | str) -> Detections:
        return Detections(self.boxes.to(device), self.scores.to(device), self.labels.to(device))


def split_detections(boxes: Tensor, scores: Tensor, labels: Tensor, batch_index: Tensor, batch_size: int) -> list[Detections]:
    """Detections of each sample from packed ones ([N, 7 or 9], [N], [N]); batch_index [N] int64, sorted."""
    counts = torch.bincount(batch_index, minlength=batch_size).tolist()
    parts = zip(boxes.split(counts), scores.split(counts), labels.split(counts), strict=True)
    return [Detections(*part) for part in parts]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """True objects of a batch, packed: rows of one sample after those of the one before. Samples may have none.

    Attributes:
        boxes: [K, 7 or 9] floating point, as in `Detections`.
        labels: [K] int64 classes from 0.
        batch_index: [K] int64 sample of each object, sorted.
        batch_size: number of samples B.

    Raises:
        ValueError: shapes or dtypes that do not fit, and on the CPU a batch index that is not sorted or not below the batch size.
    """

    boxes: Tensor
    labels: Tensor
    batch_index: Tensor
    batch_size: int

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if self.boxes.ndim != 2 or self.boxes.shape[1] not in (7, 9) or not self.boxes.is_floating_point():
            raise ValueError(f"GroundTruth: boxes must be [K, 7] or [K, 9] floating point, got {_describe(self.boxes)}")
        for name, values in (("labels", self.labels), ("batch_index", self.batch_index)):
            if values.shape != (count,) or values.dtype != torch.int64:
                raise ValueError(f"GroundTruth: {name} must be [{count}] int64, got {_describe(values)}")
        if count and self.batch_index.device.type == "cpu":
            first, last = int(self.batch_index[0]), int(self.batch_index[-1])
            if first < 0 or last >= self.batch_size or bool((self.batch_index.diff() < 0).any()):
                raise ValueError(f"GroundTruth: batch_index must be sorted and from 0 to {self.batch_size - 1}")

    @classmethod
    def from_samples(cls, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> GroundTruth:
        """Pack the objects of each sample: boxes [K_b, 7 or 9] and labels [K_b] int64 for every b.

        Raises:
            ValueError: no samples, or shapes and dtypes that do not fit.
        """
        if not boxes or len(boxes) != len(labels):
            raise ValueError(f"GroundTruth: boxes and labels must be of the same samples, got {len(boxes)} and {len(labels)}")
        counts = torch.tensor([len(sample) for sample in boxes], device=boxes[0].device)
        batch_index = torch.arange(len(boxes), device=boxes[0].device).repeat_interleave(counts)
        return cls(torch.cat(list(boxes)), torch.cat(list(labels)), batch_index, len(boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def with_size(self) -> GroundTruth:
        """Without the objects of which a size is not positive: they have no logarithm, and nobody could find them."""
        keep = (self.boxes[:, 3:6] > 0).all(1)
        return replace(self, boxes=self.boxes[keep], labels=self.labels[keep], batch_index=self.batch_index[keep])

    def for_head(self, caller: str, batch_size: int, velocity: bool) -> GroundTruth:
        """Without velocities where the head has none; ValueError if it has and the boxes do not, or for another batch size."""
        if batch_size != self.batch_size:
            raise ValueError(f"{caller}: the network saw {batch_size} samples, the true objects are of {self.batch_size}")
        if velocity and self.boxes.shape[1] != 9:
            raise ValueError(f"{caller}: a head with velocities needs boxes [K, 9], got {list(self.boxes.shape)}")
        return self if velocity else replace(self, boxes=self.boxes[:, :7])

    def check_labels(self, caller: str, num_classes: int) -> None:
        """Raise ValueError for a label outside [0, num_classes); only on the CPU, where looking at values costs nothing."""
        if self.labels.device.type == "cpu" and bool(((self.labels < 0) | (self.labels >= num_classes)).any()):
            raise ValueError(
                f"{caller}: labels must be classes from 0 to {num_classes - 1}, got {self.labels.unique().tolist()}"
            )

    def to(self, device: torch.device | str) -> GroundTruth:
        return GroundTruth(self.boxes.to(device), self.labels.to(device), self.batch_index.to(device), self.batch_size)


def _describe(value: Tensor) -> str:
    return f"{list(value.shape)} {value.dtype}"
