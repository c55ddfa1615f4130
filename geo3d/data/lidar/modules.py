"""Lightning data modules of the LiDAR detection data sets: KITTI, nuScenes and Waymo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.generated import GeneratedStreets, resolve_root
from geo3d.data.lidar.detection import class_balanced_indices
from geo3d.data.lidar.detection_module import DetectionDataModule, Role
from geo3d.data.lidar.gt_sampling import GroundTruthSampling
from geo3d.data.lidar.kitti import KITTI_CLASSES, KittiDataset, KittiSplit
from geo3d.data.lidar.nuscenes import NuScenesDataset
from geo3d.data.lidar.nuscenes_tables import NUSCENES_CLASSES
from geo3d.data.lidar.transforms import LidarAugmentation
from geo3d.data.lidar.waymo import WAYMO_CLASSES, WaymoDataset, waymo_features

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
