"""KITTI object detection (CVPR 2012): sweeps, labels, calibrations and images of single frames.

    root/
      ImageSets/{train,val,trainval,test}.txt   frame names, one a line; without trainval and test all frames of the folders
      training/velodyne/000000.bin              float32 x y z intensity, or velodyne_reduced/: only points in the camera's view
               label_2/000000.txt               see `geo3d.data.lidar.kitti_labels`
               calib/000000.txt                 P2, R0_rect, Tr_velo_to_cam
               image_2/000000.png
      testing/                                  the same without labels

Boxes are in the LiDAR frame (x forward, y left, z up), as in all of geo3d. Labelled objects of other classes are kept apart in
`other_boxes`; regions marked DontCare have no box and are in `KittiDataset.objects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from geo3d.data.files.point_text import read_lines
from geo3d.data.lidar.kitti_labels import KittiObjects, read_label_file
from geo3d.data.lidar.sensors import SENSORS
from geo3d.data.lidar.sweeps import FEATURES, CameraView, LidarSample, finite_points, image_size, read_checked_rows
from geo3d.geometry.boxes import boxes_from_kitti
from geo3d.geometry.cameras import Camera, kitti_camera

KittiSplit = Literal["train", "val", "trainval", "test"]
KITTI_CLASSES = ("Car", "Pedestrian", "Cyclist")
IMAGE_SIZE = (1242, 375)  # pixels, of most of its images
SWEEP_FOLDERS = ("velodyne", "velodyne_reduced")


class KittiDataset(Dataset[LidarSample]):
    """Frames of one split, as they are in the files.

    Args:
        root: the folder drawn above.
        split: "train", "val", "trainval" or "test" (which has no labels).
        class_names: the classes that labels count; others are kept apart.
        camera_view_only: keep only points that the image shows, as the labels cover no more (needs calibration and image).

    Raises:
        FileNotFoundError: a folder, a list, or the sweep of a frame that a list names, is missing.
        ValueError: a damaged file, at access; the message names it.
    """

    features: tuple[str, ...] = FEATURES["kitti"]

    def __init__(
        self,
        root: str | Path,
        split: KittiSplit = "trainval",
        class_names: Sequence[str] = KITTI_CLASSES,
        *,
        camera_view_only: bool = False,
    ) -> None:
        if split not in get_args(KittiSplit):
            raise ValueError(f"{type(self).__name__}: split must be one of {list(get_args(KittiSplit))}, got {split!r}")
        self.root = Path(root)
        self.split = split
        self.class_names = tuple(class_names)
        self.camera_view_only = camera_view_only
        self.folder = self.root / ("testing" if split == "test" else "training")
        self.frames = _listed_frames(self.root, self.folder, split)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> LidarSample:
        return read_kitti_frame(
            self.folder,
            self.frames[index],
            self.class_names,
            camera_view_only=self.camera_view_only,
            labeled=self.split != "test",
        )

    def objects(self, index: int) -> KittiObjects:
        """All lines of a frame's label file, DontCare among them; none in the test split."""
        if self.split == "test":
            return KittiObjects.empty()
        return read_label_file(self.folder / "label_2" / f"{self.frames[index]}.txt")

    def camera(self, index: int) -> Camera:
        """The left colour camera of a frame."""
        return read_kitti_camera(self.folder, self.frames[index])


def read_kitti_frame(
    folder: str | Path,
    frame: str,
    class_names: Sequence[str] = KITTI_CLASSES,
    *,
    camera_view_only: bool = False,
    labeled: bool | None = None,
) -> LidarSample:
    """One frame of `training` or `testing`.

    Args:
        folder: `training`, `testing`, or any folder with `velodyne` in it.
        frame: its name, such as "000008".
        class_names: the classes that labels count.
        camera_view_only: keep only points that the image shows.
        labeled: whether labels must be there; None reads them if they are. The same goes for the calibration, without which
            labels cannot be read.

    Raises:
        FileNotFoundError: the sweep is missing, or a file that labels or `camera_view_only` need.
        ValueError: a damaged file.
    """
    folder = Path(folder)
    source = _sweep_file(folder, frame)
    points = finite_points(read_checked_rows(source, "kitti"))
    labels, calibration = folder / "label_2" / f"{frame}.txt", folder / "calib" / f"{frame}.txt"
    if labeled is None:
        labeled = labels.is_file()
    camera = read_kitti_camera(folder, frame) if labeled or camera_view_only or calibration.is_file() else None
    picture = _image_file(folder, frame)
    views = (CameraView("image_2", picture, camera),) if camera is not None and picture is not None else ()
    if camera_view_only and camera is not None and source.parent.name != "velodyne_reduced":
        if camera.image_size is None:
            raise FileNotFoundError(f"{folder}: no image_2/{frame}.png, whose size camera_view_only needs")
        points = points[camera.in_view(points.double())]
    names, sensor = tuple(class_names), SENSORS["kitti"]
    sample = LidarSample(points, FEATURES["kitti"], frame, source, class_names=names, cameras=views, sensor=sensor)
    if not labeled or camera is None:
        return sample
    return _with_objects(sample, read_label_file(labels), camera)


def read_kitti_camera(folder: str | Path, frame: str) -> Camera:
    """The left colour camera of a frame, with the size of its image where there is one.

    Raises:
        FileNotFoundError: no calibration.
        ValueError: a calibration file without P2, R0_rect or Tr_velo_to_cam, or with other than 12, 9 and 12 numbers.
    """
    folder = Path(folder)
    path = folder / "calib" / f"{frame}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no calib/{frame}.txt, which labels and images need")
    picture = _image_file(folder, frame)
    p2, r0_rect, tr_velo_to_cam = _read_calibration(path)
    try:
        return kitti_camera(p2, r0_rect, tr_velo_to_cam, None if picture is None else image_size(picture))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def with_image_size(camera: Camera) -> Camera:
    """The camera, with the size of KITTI's images where its own is unknown."""
    return camera if camera.image_size is not None else replace(camera, image_size=IMAGE_SIZE)


def _with_objects(sample: LidarSample, objects: KittiObjects, camera: Camera) -> LidarSample:
    """The sample with boxes of its classes, and others kept apart."""
    boxes = torch.from_numpy(boxes_from_kitti(objects.boxes_camera, camera.lidar_from_camera)).float()
    wanted = np.array([name in sample.class_names for name in objects.names], dtype=bool)
    other = np.array([name != "DontCare" for name in objects.names], dtype=bool) & ~wanted
    return LidarSample(
        sample.points,
        sample.features,
        sample.frame,
        sample.source,
        boxes=boxes[wanted],
        labels=torch.tensor([sample.class_names.index(name) for name in objects.names if name in sample.class_names]).long(),
        class_names=sample.class_names,
        difficulty=torch.from_numpy(objects.difficulty[wanted]),
        other_boxes=boxes[other],
        other_names=tuple(name for name, keep in zip(objects.names, other, strict=True) if keep),
        cameras=sample.cameras,
        sensor=sample.sensor,
    )


def _listed_frames(root: Path, folder: Path, split: str) -> list[str]:
    listing = root / "ImageSets" / f"{split}.txt"
    if not folder.is_dir():
        raise FileNotFoundError(f"{root}: no folder {folder.name} (KITTI's folders are training and testing)")
    if listing.is_file():
        return read_lines(listing)
    if split in ("train", "val"):
        raise FileNotFoundError(f"{root}: no ImageSets/{split}.txt; without it only the splits trainval and test can be read")
    frames = sorted({path.stem for name in SWEEP_FOLDERS for path in (folder / name).glob("*.bin")})
    if not frames:
        raise FileNotFoundError(f"{folder}: no velodyne/*.bin and no velodyne_reduced/*.bin")
    return frames


def _sweep_file(folder: Path, frame: str) -> Path:
    for name in SWEEP_FOLDERS:
        path = folder / name / f"{frame}.bin"
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder}: no velodyne/{frame}.bin and no velodyne_reduced/{frame}.bin")


def _image_file(folder: Path, frame: str) -> Path | None:
    for suffix in (".png", ".jpg"):
        path = folder / "image_2" / f"{frame}{suffix}"
        if path.is_file():
            return path
    return None


def _read_calibration(path: Path) -> list[np.ndarray]:
    """P2 [3, 4], R0_rect [3, 3] and Tr_velo_to_cam [3, 4]."""
    entries = dict(line.split(":", 1) for line in read_lines(path) if ":" in line)
    matrices = []
    for name, shape in (("P2", (3, 4)), ("R0_rect", (3, 3)), ("Tr_velo_to_cam", (3, 4))):
        words = entries.get(name, "").split()
        try:
            matrices.append(np.array([float(word) for word in words]).reshape(shape))
        except ValueError:
            raise ValueError(f"{path}: expected {name}: and {shape[0] * shape[1]} numbers, got {len(words)} words") from None
    return matrices
