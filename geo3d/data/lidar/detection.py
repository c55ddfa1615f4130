"""Samples and batches for training and evaluating LiDAR detectors: augmentation, ground-truth sampling, range, order of points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from geo3d.data.lidar.gt_sampling import GroundTruthSampler, LidarFrames
from geo3d.data.lidar.sweeps import LidarSample
from geo3d.data.lidar.transforms import (
    LidarAugmentation,
    LidarAugmentationName,
    augment_lidar,
    check_range,
    keep_boxes,
    mask_boxes,
    mask_points,
    shuffle,
)
from geo3d.data.loading import ItemKey, item_generator

REDRAWS = 20  # draws of another frame in place of one without boxes, before training takes what it got


@dataclass(frozen=True, eq=False)
class LidarBatch:
    """Frames packed one after the other; a frame may have no points or no boxes.

    Attributes:
        points: [N, 3 + F] float32, x y z in metres and the data set's `features`.
        batch_index: [N] int64, sorted, the frame of each point.
        boxes: [K, 7 or 9] float32; see `geo3d.geometry.boxes`.
        labels: [K] int64, classes from 0.
        box_batch_index: [K] int64, sorted, the frame of each box.
        num_points: [K] int64 points in each box as annotated, -1 where the data set does not say.
        difficulty: [K] int64, the data set's grade, -1 where there is none.
        batch_size: number of frames B.
        frames: B names of frames.
    """

    points: Tensor
    batch_index: Tensor
    boxes: Tensor
    labels: Tensor
    box_batch_index: Tensor
    num_points: Tensor
    difficulty: Tensor
    batch_size: int
    frames: tuple[str, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LidarBatch:
        """The batch on another device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> LidarBatch:
        """The batch in page-locked memory, which a GPU copies from without waiting."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> LidarBatch:
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        values |= {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return LidarBatch(**values)


def collate_lidar(samples: Sequence[LidarSample]) -> LidarBatch:
    """Pack frames; raises ValueError when there are none or their columns differ."""
    kinds = {(sample.features, sample.boxes.shape[1]) for sample in samples}
    if len(kinds) != 1:
        raise ValueError(f"collate_lidar: samples must be at least one, with the same columns, got {sorted(kinds)}")
    return LidarBatch(
        points=torch.cat([sample.points for sample in samples]),
        batch_index=_owners([len(sample.points) for sample in samples]),
        boxes=torch.cat([sample.boxes for sample in samples]),
        labels=torch.cat([sample.labels for sample in samples]),
        box_batch_index=_owners([len(sample.boxes) for sample in samples]),
        num_points=torch.cat([_known(sample.num_points, sample) for sample in samples]),
        difficulty=torch.cat([_known(sample.difficulty, sample) for sample in samples]),
        batch_size=len(samples),
        frames=tuple(sample.frame for sample in samples),
    )


class DetectionDataset(Dataset[LidarSample]):
    """Frames of a LiDAR data set as a detector takes them.

    For training: boxes without points are left out, objects are pasted in, the scene is augmented, and boxes whose centre leaves
    the range are left out; a frame without boxes is replaced by another at random. For evaluation all boxes stay. In both, points
    outside the range go and the others are shuffled.

    Args:
        frames: the data set.
        point_range: smallest x, y, z, then largest x, y, z, metres.
        mask_z: leave out points by z too; see `geo3d.data.lidar.transforms.mask_points`.
        training: prepare frames for training rather than for evaluation.
        augment: ranges of the augmentations; None for none.
        sampler: pastes objects; None for none.
        epochs: length of the training, whose end goes without `augment.disabled`; None where unknown.
        indices: frames to use, in this order, with repetitions; all by default.
        seed: of the random numbers. For evaluation they are the same at every access.
    """

    def __init__(
        self,
        frames: LidarFrames,
        point_range: Sequence[float],
        *,
        mask_z: bool = False,
        training: bool = False,
        augment: LidarAugmentation | None = None,
        sampler: GroundTruthSampler | None = None,
        epochs: int | None = None,
        indices: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        check_range(type(self).__name__, point_range)
        self.frames = frames
        self.point_range = tuple(float(end) for end in point_range)
        self.mask_z = mask_z
        self.training = training
        self.augment = augment
        self.sampler = sampler
        self.epochs = epochs
        self.indices = np.arange(len(frames)) if indices is None else np.asarray(indices)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: ItemKey) -> LidarSample:
        index, generator = item_generator(key, self.seed, not self.training)
        sample = self.frames[int(self.indices[index])]
        if not self.training:
            return shuffle(mask_points(sample, self.point_range, self.mask_z), generator)
        without = self.without(key[1] if isinstance(key, tuple) else 0)
        sample = self._trained_on(sample, generator, without)
        for _ in range(REDRAWS):
            if len(sample.boxes):
                break
            sample = self._trained_on(self.frames[int(generator.choice(self.indices))], generator, without)
        return sample

    def without(self, epoch: int) -> tuple[LidarAugmentationName, ...]:
        """The augmentations that are off in an epoch, counted from 0."""
        if self.augment is None or self.epochs is None or epoch < self.epochs - self.augment.disabled_epochs:
            return ()
        return self.augment.disabled

    def _trained_on(
        self, sample: LidarSample, generator: np.random.Generator, without: Collection[LidarAugmentationName]
    ) -> LidarSample:
        if sample.num_points is not None:
            sample = keep_boxes(sample, sample.num_points > 0)
        if self.sampler is not None and "gt_sampling" not in without:
            sample = self.sampler(sample, generator)
        if self.augment is not None:
            sample = augment_lidar(sample, generator, self.augment, without)
        sample = mask_boxes(mask_points(sample, self.point_range, self.mask_z), self.point_range)
        return shuffle(sample, generator)


def class_balanced_indices(label_sets: Sequence[Collection[int]], num_classes: int, seed: int = 0) -> np.ndarray:
    """Frames resampled so that each class occurs in about as many (CBGS, Zhu et al. 2019).

    Args:
        label_sets: classes in each frame.
        num_classes: C.
        seed: of the draw.

    Returns:
        [M] int64 indices of frames, class by class, with repetitions: the T occurrences of a class in a frame, over all classes,
        are shared out evenly, T / C (at least one) draws with replacement among the frames of each class. Classes that no frame has get none.
    """
    generator = np.random.default_rng(seed)
    members = [np.array([row for row, labels in enumerate(label_sets) if each in labels]) for each in range(num_classes)]
    share = max(sum(map(len, members)) // num_classes, 1)
    draws = [generator.choice(rows, share) for rows in members if len(rows)]
    return np.concatenate(draws).astype(np.int64) if draws else np.zeros(0, np.int64)


def _owners(counts: list[int]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _known(values: Tensor | None, sample: LidarSample) -> Tensor:
    return torch.full((len(sample.boxes),), -1) if values is None else values
