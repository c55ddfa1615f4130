"""What the data modules of LiDAR detection share: splits, sampled objects and loaders."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
from torch.utils.data import DataLoader

from geo3d.data.cache import cache_folder
from geo3d.data.lidar.detection import DetectionDataset, LidarBatch, collate_lidar
from geo3d.data.lidar.gt_sampling import GroundTruthSampler, GroundTruthSampling, LidarFrames, build_database
from geo3d.data.lidar.transforms import LidarAugmentation, check_range
from geo3d.data.loading import EpochSampler, current_epoch, make_loader
from geo3d.descriptions import SweepInput

Role = Literal["train", "val"]


class DetectionDataModule(lightning.LightningDataModule):
    """Loaders of a LiDAR detection data set; subclasses read the files.

    Args:
        root: the folder of the data.
        class_names: the classes that labels count.
        point_range: smallest x, y, z, then largest x, y, z, metres.
        mask_z: leave out points by z too, rather than by x and y alone.
        batch_size: frames of a training batch; an incomplete last batch is dropped.
        test_batch_size: frames of a batch in validation and testing, in the order of the data set.
        num_workers: worker processes of each loader.
        pin_memory: put batches in page-locked memory, for training on a GPU.
        augment: ranges of the training augmentations, and when they stop; None for none.
        gt_sampling: objects that training scenes get; None for none.
        seed: of order and augmentation.
    """

    def __init__(
        self,
        root: str,
        class_names: Sequence[str],
        *,
        point_range: Sequence[float],
        mask_z: bool = False,
        batch_size: int = 4,
        test_batch_size: int = 4,
        num_workers: int = 0,
        pin_memory: bool = False,
        augment: LidarAugmentation | None = None,
        gt_sampling: GroundTruthSampling | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_range(type(self).__name__, point_range)
        if gt_sampling is not None:
            gt_sampling.check_classes(type(self).__name__, class_names)
        self.root = root
        self.class_names = tuple(class_names)
        self.point_range = tuple(point_range)
        self.mask_z = mask_z
        self.batch_size = batch_size
        self.test_batch_size = test_batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.augment = augment
        self.gt_sampling = gt_sampling
        self.seed = seed
        self._frames: dict[Role, LidarFrames] = {}

    sensor: str = "other"  # whose scale intensities are in, see `geo3d.descriptions.SweepInput`
    camera_view_only: bool = False

    def preprocessing(self) -> SweepInput:
        """How sweeps are prepared, for the description of trained weights."""
        return SweepInput(self.sensor, self.features, self.camera_view_only)

    @abstractmethod
    def make_frames(self, role: Role) -> LidarFrames:
        """The data set of a role, before any augmentation."""

    @property
    @abstractmethod
    def features(self) -> tuple[str, ...]:
        """Columns of a point after x, y, z; known without the files."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def network_arguments(self) -> dict[str, Any]:
        """Arguments of the network that follow from the data, for configurations that leave them out; known without the files."""
        return {
            "num_classes": self.num_classes,
            "in_features": 3 + len(self.features),
            "point_range": list(self.point_range),
        }

    def prepare_data(self) -> None:
        """Generate data that is asked for and, to train, build the ground-truth database, on one process only."""
        self.data_root()
        evaluates = self.trainer is not None and self.trainer.state.fn not in (
            None,
            "fit",
        )  # where there may be no training split
        if self.gt_sampling is not None and not evaluates:
            build_database(self.frames("train"), self.database_folder(), every=self.gt_sampling.every)

    def setup(self, stage: str) -> None:
        """Read the splits that a stage ("fit", "validate", "test", "predict") needs."""
        if stage == "fit":
            self.frames("train")
        self.frames("val")

    def frames(self, role: Role) -> LidarFrames:
        """A split as the files have it, read on first use; evaluation finds there what a batch does not carry."""
        if role not in self._frames:
            self._frames[role] = self.make_frames(role)
        return self._frames[role]

    def data_root(self) -> Path:
        """The folder of the data."""
        return Path(self.root)

    def database_folder(self) -> Path:
        """The folder of the ground-truth database: the one named, or one in the cache folder for these frames and classes."""
        if self.gt_sampling is not None and self.gt_sampling.folder is not None:
            return Path(self.gt_sampling.folder)
        frames = self.frames("train")
        every = self.gt_sampling.every if self.gt_sampling is not None else {}
        what = (str(self.data_root().resolve()), frames.class_names, frames.features, sorted(every.items()), frames.frames)
        digest = hashlib.sha256(repr(what).encode()).hexdigest()[:12]
        return cache_folder() / "gt_database" / f"{type(self).__name__.lower()}-{digest}"

    def dataset(self, role: Role) -> DetectionDataset:
        """A split as the loaders use it."""
        if role == "val":
            return DetectionDataset(self.frames("val"), self.point_range, mask_z=self.mask_z, seed=self.seed)
        sampler = None
        if self.gt_sampling is not None:
            sampler = GroundTruthSampler(self.database_folder(), self.gt_sampling.groups, self.gt_sampling.min_points)
        epochs = self.trainer.max_epochs if self.trainer is not None else None
        return DetectionDataset(
            self.frames("train"),
            self.point_range,
            mask_z=self.mask_z,
            training=True,
            augment=self.augment,
            sampler=sampler,
            epochs=epochs if epochs is not None and epochs > 0 else None,  # -1: without end
            indices=self.train_indices(),
            seed=self.seed,
        )

    def train_indices(self) -> np.ndarray | None:
        """Frames of an epoch, with repetitions; None for each of them once."""
        return None

    def train_dataloader(self) -> DataLoader[LidarBatch]:
        """Training split, shuffled and augmented, in whole batches."""
        dataset = self.dataset("train")
        return self._loader(dataset, self.batch_size, EpochSampler(len(dataset), self.seed, current_epoch(self)))

    def val_dataloader(self) -> DataLoader[LidarBatch]:
        """Validation split, in its order."""
        return self._loader(self.dataset("val"), self.test_batch_size)

    def test_dataloader(self) -> DataLoader[LidarBatch]:
        """The validation split too: the benchmarks keep the labels of their test sets."""
        return self.val_dataloader()

    def _loader(
        self, dataset: DetectionDataset, batch_size: int, sampler: EpochSampler | None = None
    ) -> DataLoader[LidarBatch]:
        return make_loader(
            dataset, collate_lidar, batch_size, num_workers=self.num_workers, pin_memory=self.pin_memory, sampler=sampler
        )
