"""Samples and batches of the point-cloud data sets, and how samples become a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassificationSample:
    """One cloud and its class.

    Attributes:
        points: [N, 6] float32, x y z and the unit normal.
        label: index into the data set's `class_names`.
    """

    points: Tensor
    label: int


@dataclass(frozen=True)
class PartSample:
    """One cloud, its category and the part of each point.

    Attributes:
        points: [N, 6] float32, x y z and the unit normal.
        category: index into the data set's `category_names`.
        parts: [N] int64, part label of each point, counted over all categories.
    """

    points: Tensor
    category: int
    parts: Tensor


@dataclass(frozen=True)
class ClassificationBatch:
    """Clouds of one size and their classes.

    Attributes:
        points: [B, N, 6] float32, x y z and the unit normal.
        labels: [B] int64.
    """

    points: Tensor
    labels: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ClassificationBatch:
        """The batch on another device."""
        return ClassificationBatch(
            self.points.to(device, non_blocking=non_blocking), self.labels.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> ClassificationBatch:
        """The batch in page-locked memory, which a GPU copies from without waiting."""
        return ClassificationBatch(self.points.pin_memory(), self.labels.pin_memory())


@dataclass(frozen=True)
class PartBatch:
    """Clouds of one size, their categories and the part of each point.

    Attributes:
        points: [B, N, 6] float32, x y z and the unit normal.
        categories: [B] int64.
        parts: [B, N] int64.
    """

    points: Tensor
    categories: Tensor
    parts: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PartBatch:
        """The batch on another device."""
        return PartBatch(
            self.points.to(device, non_blocking=non_blocking),
            self.categories.to(device, non_blocking=non_blocking),
            self.parts.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> PartBatch:
        """The batch in page-locked memory, which a GPU copies from without waiting."""
        return PartBatch(self.points.pin_memory(), self.categories.pin_memory(), self.parts.pin_memory())


def collate_classification(samples: Sequence[ClassificationSample]) -> ClassificationBatch:
    """Stack samples; raises ValueError when there are none or their numbers of points differ."""
    _check_sizes("collate_classification", [sample.points for sample in samples])
    labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
    return ClassificationBatch(torch.stack([sample.points for sample in samples]), labels)


def collate_parts(samples: Sequence[PartSample]) -> PartBatch:
    """Stack samples; raises ValueError when there are none or their numbers of points differ."""
    _check_sizes("collate_parts", [sample.points for sample in samples])
    categories = torch.tensor([sample.category for sample in samples], dtype=torch.int64)
    parts = torch.stack([sample.parts for sample in samples])
    return PartBatch(torch.stack([sample.points for sample in samples]), categories, parts)


def _check_sizes(name: str, clouds: list[Tensor]) -> None:
    sizes = {tuple(cloud.shape) for cloud in clouds}
    if len(sizes) != 1:
        raise ValueError(f"{name}: samples must be at least one and of one shape, got shapes {sorted(sizes)}")
