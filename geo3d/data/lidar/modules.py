"""Lightning data modules of the LiDAR detection data sets: KITTI, nuScenes and Waymo."""

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
from geo3d.data.generated import GeneratedStreets, resolve_root
from geo3d.data.lidar.detection import DetectionDataset, LidarBatch, class_balanced_indices, collate_lidar
from geo3d.data.lidar.gt_sampling import GroundTruthSampler, GroundTruthSampling, LidarFrames, build_database
from geo3d.data.lidar.kitti import KITTI_CLASSES, KittiDataset, KittiSplit
from geo3d.data.lidar.nuscenes import NuScenesDataset
from geo3d.data.lidar.nuscenes_tables import NUSCENES_CLASSES
from geo3d.data.lidar.transforms import LidarAugmentation, check_range
from geo3d.data.lidar.waymo import WAYMO_CLASSES, WaymoDataset, waymo_features
from geo3d.data.loading import EpochSampler, current_epoch, make_loader
from geo3d.descriptions import SweepInput

Role = Literal["train", "val"]

KITTI_AUGMENTATION = LidarAugmentation(flip_axes=("x",), translation=0.0)
KITTI_SAMPLING = GroundTruthSampling({"Car": 20, "Pedestrian": 15, "Cyclist": 15})

# DSVT's published settings (CVPR 2023).
WAYMO_AUGMENTATION = LidarAugmentation(disabled_epochs=1)
WAYMO_SAMPLING = GroundTruthSampling(
    groups={"Vehicle": 15, "Pedestrian": 10, "Cyclist": 10},
    min_points={"Pedestrian": 10, "Cyclist": 10},
    every={"Vehicle": 4, "Pedestrian": 2},
)
NUSCENES_AUGMENTATION = LidarAugmentation(scaling=(0.9, 1.1), disabled=("gt_sampling",), disabled_epochs=4)
NUSCENES_SAMPLING = GroundTruthSampling(dict(zip(NUSCENES_CLASSES, (2, 3, 7, 4, 6, 2, 6, 6, 2, 2), strict=True)))


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
        """Generate data that is asked for, and build the ground-truth database, on one process only."""
        self.data_root()
        if self.gt_sampling is not None:
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


class Kitti(DetectionDataModule):
    """KITTI; see `geo3d.data.lidar.kitti` for the folder and `DetectionDataModule` for what is not described here.

    Args:
        root: the folder, or "generated" for streets that are made in the cache folder on first use.
        generate: what to generate, with root "generated".
        train_split, val_split: lists under ImageSets; "trainval" without a list takes all frames.
        camera_view_only: keep only points that the image shows, as the labels cover no more.
    """

    sensor = "kitti"

    def __init__(
        self,
        root: str,
        class_names: Sequence[str] = KITTI_CLASSES,
        train_split: KittiSplit = "train",
        val_split: KittiSplit = "val",
        camera_view_only: bool = True,
        point_range: Sequence[float] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0),
        augment: LidarAugmentation | None = KITTI_AUGMENTATION,
        gt_sampling: GroundTruthSampling | None = KITTI_SAMPLING,
        generate: GeneratedStreets | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(
            root,
            class_names,
            point_range=point_range,
            augment=augment,
            gt_sampling=gt_sampling,
            **loading,
        )
        self.generate = generate
        self.splits: dict[Role, KittiSplit] = {"train": train_split, "val": val_split}
        self.camera_view_only = camera_view_only

    @property
    def features(self) -> tuple[str, ...]:
        return KittiDataset.features

    def data_root(self) -> Path:
        """The folder of the data, which is generated if asked for."""
        return resolve_root("Kitti", self.root, self.generate, GeneratedStreets())

    def make_frames(self, role: Role) -> KittiDataset:
        """The data set of a role."""
        return KittiDataset(self.data_root(), self.splits[role], self.class_names, camera_view_only=self.camera_view_only)


class NuScenes(DetectionDataModule):
    """nuScenes; see `geo3d.data.lidar.nuscenes` for the folder and `DetectionDataModule` for what is not described here.

    Args:
        version: the folder of the tables; by default the first that is there.
        num_sweeps: sweeps of a sample, the key frame among them.
        repeat_sweeps: repeat the oldest sweep at the start of a scene, as the published model was trained and evaluated.
        class_balanced: resample training frames so that each class occurs in about as many.
    """

    sensor = "nuscenes"

    def __init__(
        self,
        root: str,
        class_names: Sequence[str] = NUSCENES_CLASSES,
        version: str | None = None,
        num_sweeps: int = 10,
        repeat_sweeps: bool = True,
        class_balanced: bool = True,
        point_range: Sequence[float] = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0),
        mask_z: bool = True,
        augment: LidarAugmentation | None = NUSCENES_AUGMENTATION,
        gt_sampling: GroundTruthSampling | None = NUSCENES_SAMPLING,
        **loading: Any,
    ) -> None:
        super().__init__(
            root,
            class_names,
            point_range=point_range,
            mask_z=mask_z,
            augment=augment,
            gt_sampling=gt_sampling,
            **loading,
        )
        self.version = version
        self.num_sweeps = num_sweeps
        self.repeat_sweeps = repeat_sweeps
        self.class_balanced = class_balanced

    @property
    def features(self) -> tuple[str, ...]:
        return NuScenesDataset.features

    def make_frames(self, role: Role) -> NuScenesDataset:
        """The data set of a role."""
        return NuScenesDataset(
            self.root,
            role,
            version=self.version,
            class_names=self.class_names,
            num_sweeps=self.num_sweeps,
            repeat_sweeps=self.repeat_sweeps,
        )

    def train_indices(self) -> np.ndarray | None:
        """Frames of an epoch, resampled by class if asked for."""
        frames = self.frames("train")
        if not self.class_balanced or not isinstance(frames, NuScenesDataset):
            return None
        return class_balanced_indices(frames.label_sets(), self.num_classes, self.seed)


class Waymo(DetectionDataModule):
    """Waymo as processed; see `geo3d.data.lidar.waymo` for the folder and `DetectionDataModule` for what is not described here.

    Args:
        train_every, val_every: keep every so many frames; 5 for training in the published short schedule.
        no_label_zones: keep points where nothing is labelled.
        processed: name of the folder of sequences.
        num_sweeps: frames of a sample: the frame and those before it; points then have their age too.
    """

    sensor = "waymo"

    def __init__(
        self,
        root: str,
        class_names: Sequence[str] = WAYMO_CLASSES,
        train_every: int = 1,
        val_every: int = 1,
        no_label_zones: bool = True,
        processed: str = "waymo_processed_data_v0_5_0",
        point_range: Sequence[float] = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0),
        batch_size: int = 3,
        test_batch_size: int = 3,
        augment: LidarAugmentation | None = WAYMO_AUGMENTATION,
        gt_sampling: GroundTruthSampling | None = WAYMO_SAMPLING,
        num_sweeps: int = 1,
        **loading: Any,
    ) -> None:
        super().__init__(
            root,
            class_names,
            point_range=point_range,
            batch_size=batch_size,
            test_batch_size=test_batch_size,
            augment=augment,
            gt_sampling=gt_sampling,
            **loading,
        )
        self.every: dict[Role, int] = {"train": train_every, "val": val_every}
        self.no_label_zones = no_label_zones
        self.processed = processed
        self.num_sweeps = num_sweeps

    @property
    def features(self) -> tuple[str, ...]:
        return waymo_features(self.num_sweeps)

    def make_frames(self, role: Role) -> WaymoDataset:
        """The data set of a role."""
        return WaymoDataset(
            self.root,
            role,
            self.class_names,
            every=self.every[role],
            no_label_zones=self.no_label_zones,
            processed=self.processed,
            num_sweeps=self.num_sweeps,
        )
