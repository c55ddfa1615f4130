"""What the classification data sets share: clouds in memory, farthest point subsets, and the Lightning data module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geo3d.data.loading import EpochSampler, ItemKey, current_epoch, item_generator, make_loader
from geo3d.data.shapes import transforms
from geo3d.data.shapes.samples import ClassificationBatch, ClassificationSample, collate_classification
from geo3d.data.shapes.transforms import (
    Augmentation,
    Axis,
    RotationProtocol,
    augmented,
    check_augmentations,
    check_rotation,
    randomly_rotated,
)
from geo3d.descriptions import CloudInput
from geo3d.ops.sampling import farthest_point_sample

Split = Literal["train", "test"]


def check_split(name: str, split: str) -> None:
    """Raise ValueError, in the name of the caller, unless split is "train" or "test"."""
    if split not in ("train", "test"):
        raise ValueError(f"{name}: split must be 'train' or 'test', got {split!r}")


def farthest_points(points: np.ndarray, num_points: int, source: object) -> np.ndarray:
    """Spread-out subset of a cloud by farthest point sampling from its first point.

    Args:
        points: [N, C] float32, positions in the first three columns.
        num_points: S <= N.
        source: file or item, for the message.

    Returns:
        [S, C], in the order of sampling.

    Raises:
        ValueError: fewer points than asked for.
    """
    if len(points) < num_points:
        raise ValueError(f"{source}: expected at least num_points = {num_points} points, got {len(points)}")
    positions = torch.from_numpy(np.ascontiguousarray(points[None, :, :3], dtype=np.float32))
    return points[farthest_point_sample(positions, num_points)[0].numpy()]


class ClassificationDataset(Dataset[ClassificationSample]):
    """Clouds of one size and their classes, augmented and rotated at access.

    Args:
        points: M clouds [M, N, 6] float32, x y z and the unit normal.
        labels: [M] integers.
        class_names: the classes that labels count.
        augment: names of augmentations, in their order; see `geo3d.data.shapes.transforms`.
        rotation: protocol by which each cloud is rotated after augmentation.
        orient_normals: turn the normals away from the centroid first.
        gravity_axis: axis of the rotations of protocol "z".
        fixed: the same random numbers at every access, as evaluation needs.
        seed: of the random numbers.
    """

    def __init__(
        self,
        points: np.ndarray,
        labels: np.ndarray,
        class_names: Sequence[str],
        *,
        augment: Sequence[Augmentation] = (),
        rotation: RotationProtocol = "none",
        orient_normals: bool = False,
        gravity_axis: Axis = "y",
        fixed: bool = False,
        seed: int = 0,
    ) -> None:
        name = type(self).__name__
        check_augmentations(name, augment)
        check_rotation(name, rotation)
        if points.ndim != 3 or points.shape[2] != 6 or labels.shape != points.shape[:1]:
            raise ValueError(
                f"{name}: points must be [M, N, 6] and labels [M], got {list(points.shape)} and {list(labels.shape)}"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
            raise ValueError(f"{name}: labels must be in [0, {len(class_names)}), got {labels.min()} to {labels.max()}")
        self.points: Tensor = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))
        self.labels = [int(label) for label in labels]
        self.class_names = list(class_names)
        self.augment = tuple(augment)
        self.rotation = rotation
        self.gravity_axis = gravity_axis
        self.fixed = fixed
        self.seed = seed
        if orient_normals:
            self.points = torch.stack([transforms.orient_normals(cloud) for cloud in self.points])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: ItemKey) -> ClassificationSample:
        index, generator = item_generator(key, self.seed, self.fixed)
        points = augmented(self.points[index].clone(), self.augment, generator)
        points = randomly_rotated(points, self.rotation, generator, self.gravity_axis)
        return ClassificationSample(points, self.labels[index])


class ClassificationDataModule(lightning.LightningDataModule):
    """Loaders of a classification data set; subclasses read the files, and set `num_points`, the points of a cloud.

    Args:
        batch_size: clouds of a training batch; an incomplete last batch is dropped.
        test_batch_size: clouds of a batch in validation and testing, both on the test split, in the order of the files.
        num_workers: worker processes of each loader.
        pin_memory: put batches in page-locked memory, for training on a GPU.
        augment: names of training augmentations, in their order; see `geo3d.data.shapes.transforms`.
        train_rotation, test_rotation: protocol by which clouds are rotated. A test cloud is rotated the same way every time.
        orient_normals: turn the normals away from the centroid.
        gravity_axis: axis of the rotations of protocol "z".
        seed: of order, augmentation and rotation.
    """

    num_points: int

    def __init__(
        self,
        *,
        batch_size: int = 32,
        test_batch_size: int = 16,
        num_workers: int = 0,
        pin_memory: bool = False,
        augment: Sequence[Augmentation] = ("drop", "scale", "shift"),
        train_rotation: RotationProtocol = "none",
        test_rotation: RotationProtocol = "none",
        orient_normals: bool = False,
        gravity_axis: Axis = "y",
        seed: int = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_augmentations(name, augment)
        check_rotation(name, train_rotation)
        check_rotation(name, test_rotation)
        self.batch_size = batch_size
        self.test_batch_size = test_batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.augment = tuple(augment)
        self.train_rotation = train_rotation
        self.test_rotation = test_rotation
        self.orient_normals = orient_normals
        self.gravity_axis = gravity_axis
        self.seed = seed
        self._datasets: dict[Split, ClassificationDataset] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels."""

    @abstractmethod
    def make_dataset(self, split: Split, **options: Any) -> ClassificationDataset:
        """Read a split; `options` are the keyword arguments of `ClassificationDataset`."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def preprocessing(self) -> CloudInput:
        """How clouds are prepared, for the description of trained weights."""
        generate = getattr(self, "generate", None)
        return CloudInput(self.num_points, self.orient_normals, None if generate is None else generate.num_points)

    def prepare_data(self) -> None:
        """Write what is generated and fill the caches, on one process only."""
        for split in ("train", "test"):
            self.dataset(split)

    def setup(self, stage: str) -> None:
        """Read the splits that a stage ("fit", "validate", "test", "predict") needs."""
        if stage == "fit":
            self.dataset("train")
        self.dataset("test")

    def dataset(self, split: Split) -> ClassificationDataset:
        """A split as the loaders use it, read on first use."""
        if split not in self._datasets:
            is_train = split == "train"
            self._datasets[split] = self.make_dataset(
                split,
                augment=self.augment if is_train else (),
                rotation=self.train_rotation if is_train else self.test_rotation,
                orient_normals=self.orient_normals,
                gravity_axis=self.gravity_axis,
                fixed=not is_train,
                seed=self.seed,
            )
        return self._datasets[split]

    def train_dataloader(self) -> DataLoader[ClassificationBatch]:
        """Training split, shuffled and augmented, in whole batches."""
        sampler = EpochSampler(len(self.dataset("train")), self.seed, current_epoch(self))
        return self._loader("train", self.batch_size, sampler)

    def val_dataloader(self) -> DataLoader[ClassificationBatch]:
        """The test split: these data sets have no other, and the papers choose their checkpoints by it."""
        return self._loader("test", self.test_batch_size)

    def test_dataloader(self) -> DataLoader[ClassificationBatch]:
        """Test split, in the order of the files."""
        return self._loader("test", self.test_batch_size)

    def _loader(self, split: Split, batch_size: int, sampler: EpochSampler | None = None) -> DataLoader[ClassificationBatch]:
        return make_loader(
            self.dataset(split),
            collate_classification,
            batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            sampler=sampler,
        )
