"""Waymo Open Dataset (CVPR 2020) as OpenPCDet processes it: one array a frame, one pickle of annotations a sequence.

    root/
      ImageSets/{train,val}.txt                 names of sequences, with or without .tfrecord
      waymo_processed_data_v0_5_0/
        segment-..._with_camera_labels/0000.npy float32 [N, 6] x y z intensity elongation no_label_zone, all lidars and returns
        segment-..._with_camera_labels/segment-..._with_camera_labels.pkl   list of one dictionary a frame

Points and boxes are in the frame of the car (x forward, y left, z up). Intensity and elongation are unbounded in the files and
go through tanh, as the published models expect. Several frames can be joined into one, each point with its age. For the Parquet
files of release 2 see `geo3d.data.lidar.waymo_parquet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from geo3d.data.files.array_pickle import read_array_pickle
from geo3d.data.files.point_text import read_lines
from geo3d.data.lidar.sensors import SENSORS
from geo3d.data.lidar.sweeps import LidarSample, finite_points, read_sweep
from geo3d.geometry.cameras import invert_rigid

WaymoSplit = Literal["train", "val"]
WAYMO_CLASSES = ("Vehicle", "Pedestrian", "Cyclist")
WAYMO_FEATURES = ("intensity", "elongation")
PROCESSED_FOLDER = "waymo_processed_data_v0_5_0"
SECONDS_PER_FRAME = 0.1
EGO_RADIUS = 1.0  # metres; points of earlier frames with |x| and |y| below are on the car itself
CAMERA_SUFFIX = "_with_camera_labels"  # some lists name sequences without it


@dataclass(frozen=True, eq=False)
class WaymoFrame:
    """Annotations of one frame: file of the points, name, boxes [K, 7] float32, names, points in each box, difficulty; number in the
    sequence, and [4, 4] world_from_car, None where the file does not say."""

    path: Path
    frame: str
    boxes: np.ndarray
    names: np.ndarray
    num_points: np.ndarray
    difficulty: np.ndarray
    number: int = 0
    pose: np.ndarray | None = None


def waymo_features(num_sweeps: int) -> tuple[str, ...]:
    """Columns of a point after x, y, z, of samples of so many frames."""
    return WAYMO_FEATURES if num_sweeps == 1 else (*WAYMO_FEATURES, "time")


class WaymoDataset(Dataset[LidarSample]):
    """Frames of one split in the processed layout.

    Args:
        root: the folder drawn above.
        split: "train" or "val".
        class_names: the classes that labels count; signs are kept apart, objects without a class are left out.
        every: keep every so many frames of the split; 5 in the published short schedule.
        no_label_zones: keep points where nothing is labelled, as the published models do.
        processed: name of the folder of sequences.
        num_sweeps: frames of a sample: the frame and those before it, moved along with the car and without their points on it; `features`
            then end with "time", the age in seconds. The first frames of a sequence have fewer.

    Raises:
        FileNotFoundError: a list, a sequence that it names, or at access a frame is missing.
        ValueError: a damaged pickle, one without the poses that several sweeps need, or at access a damaged array; the message names it.
    """

    features: tuple[str, ...] = WAYMO_FEATURES

    def __init__(
        self,
        root: str | Path,
        split: WaymoSplit = "train",
        class_names: Sequence[str] = WAYMO_CLASSES,
        *,
        every: int = 1,
        no_label_zones: bool = True,
        processed: str = PROCESSED_FOLDER,
        num_sweeps: int = 1,
    ) -> None:
        name = type(self).__name__
        if split not in get_args(WaymoSplit):
            raise ValueError(f"{name}: split must be one of {list(get_args(WaymoSplit))}, got {split!r}")
        if every < 1:
            raise ValueError(f"{name}: every must be at least 1, got {every}")
        if num_sweeps < 1:
            raise ValueError(f"{name}: num_sweeps must be at least 1, got {num_sweeps}")
        self.root = Path(root)
        self.class_names = tuple(class_names)
        self.no_label_zones = no_label_zones
        self.num_sweeps = num_sweeps
        self.features = waymo_features(num_sweeps)
        listing = self.root / "ImageSets" / f"{split}.txt"
        folders = [_sequence_folder(self.root / processed, line, listing) for line in read_lines(listing)]
        progress = tqdm(folders, desc=f"Waymo annotations {split}", unit="sequence", disable=None if len(folders) > 5 else True)
        joined = [frames for folder in progress for frames in _with_previous(read_sequence(folder), num_sweeps)][::every]
        self._frames = [frames[0] for frames in joined]
        self._previous = [frames[1:] for frames in joined]
        self.frames = [frame.frame for frame in self._frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> LidarSample:
        frame = self._frames[index]
        points = self._points(frame)
        if self.num_sweeps > 1:
            clouds = [_aged(points, 0.0), *(self._moved(previous, frame) for previous in self._previous[index])]
            points = torch.cat(clouds)
        return with_waymo_boxes(LidarSample(points, self.features, frame.frame, frame.path), frame, self.class_names)

    def _points(self, frame: WaymoFrame) -> torch.Tensor:
        """[N, 5] of one frame."""
        rows = read_sweep(frame.path).points.numpy()
        if rows.shape[1] != 6:
            raise ValueError(f"{frame.path}: expected an array [N, 6], got {list(rows.shape)}")
        return waymo_points(rows, self.no_label_zones)

    def _moved(self, previous: WaymoFrame, frame: WaymoFrame) -> torch.Tensor:
        """[N, 6] points of an earlier frame, without those on the car, where the car of the frame sees them."""
        points = self._points(previous)
        points = points[(points[:, :2].abs() >= EGO_RADIUS).any(1)]
        assert frame.pose is not None and previous.pose is not None
        motion = torch.from_numpy(invert_rigid(frame.pose) @ previous.pose)
        points[:, :3] = (points[:, :3].double() @ motion[:3, :3].T + motion[:3, 3]).float()
        return _aged(points, SECONDS_PER_FRAME * (frame.number - previous.number))

    def label_sets(self) -> list[set[int]]:
        """Labels that occur in each frame, without reading any sweep."""
        return [
            {self.class_names.index(name) for name in frame.names.tolist() if name in self.class_names}
            for frame in self._frames
        ]


def _with_previous(frames: list[WaymoFrame], num_sweeps: int) -> list[list[WaymoFrame]]:
    """Each frame of a sequence and up to `num_sweeps` - 1 before it, the latest first."""
    if num_sweeps > 1:
        for frame in frames:
            if frame.pose is None:
                raise ValueError(
                    f"{frame.path.parent}: expected a pose of each frame, which num_sweeps = {num_sweeps} needs; {frame.frame} has none"
                )
    return [frames[max(index - num_sweeps + 1, 0) : index + 1][::-1] for index in range(len(frames))]


def _aged(points: torch.Tensor, age: float) -> torch.Tensor:
    return torch.cat((points, points.new_full((len(points), 1), age)), 1)


def waymo_points(rows: np.ndarray, no_label_zones: bool = True) -> torch.Tensor:
    """Points [M, 5] (x y z, tanh of intensity and elongation) of rows [N, 6]; the last column is 1 inside a no-label zone."""
    if not no_label_zones:
        rows = rows[rows[:, 5] != 1]
    return finite_points(np.concatenate((rows[:, :3], np.tanh(rows[:, 3:5])), 1))


def with_waymo_boxes(sample: LidarSample, frame: WaymoFrame, class_names: Sequence[str]) -> LidarSample:
    """The sample with the boxes of its classes, others kept apart and those without a class left out."""
    wanted = np.isin(frame.names, class_names)
    other = ~wanted & (frame.names != "unknown")
    boxes = torch.from_numpy(frame.boxes)
    return LidarSample(
        sample.points,
        sample.features,
        sample.frame,
        sample.source,
        boxes=boxes[wanted],
        labels=torch.tensor([class_names.index(name) for name in frame.names[wanted]], dtype=torch.int64),
        class_names=tuple(class_names),
        num_points=torch.from_numpy(frame.num_points[wanted]),
        difficulty=torch.from_numpy(frame.difficulty[wanted]),
        other_boxes=boxes[other],
        other_names=tuple(frame.names[other].tolist()),
        sensor=SENSORS["waymo"],
    )


def read_sequence(folder: str | Path) -> list[WaymoFrame]:
    """Annotations of a sequence from its pickle, through an unpickler that admits arrays and plain Python values alone.

    Raises:
        FileNotFoundError: no such pickle.
        ValueError: a damaged pickle, or one that holds something else.
    """
    folder = Path(folder)
    path = folder / f"{folder.name}.pkl"
    infos = read_array_pickle(path)
    if not isinstance(infos, list):
        raise ValueError(f"{path}: expected a list of frames, got {type(infos).__name__}")
    frames = []
    for number, info in enumerate(infos):
        try:
            frames.append(_frame(folder, info))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}: expected the annotations of a frame, got {missing} in frame {number}") from None
    return frames


def _frame(folder: Path, info: dict[str, Any]) -> WaymoFrame:
    place = info["point_cloud"]
    name = f"{int(place['sample_idx']):04d}"
    # Sequences without labels, those of the test set, have no annotations.
    annos = info.get("annos") or {"name": [], "gt_boxes_lidar": np.zeros((0, 7)), "num_points_in_gt": [], "difficulty": []}
    names = np.asarray(annos["name"], dtype=str)
    count = len(names)
    boxes = np.asarray(annos["gt_boxes_lidar"], dtype=np.float32)
    if count and (boxes.shape[:-1] != (count,) or boxes.shape[-1] < 7):
        raise ValueError(f"boxes {list(boxes.shape)} for {count} names")
    pose = info.get("pose")
    if pose is not None and np.shape(pose) != (4, 4):
        raise ValueError(f"pose {list(np.shape(pose))}")
    return WaymoFrame(
        path=folder / f"{name}.npy",
        frame=f"{folder.name}/{name}",
        boxes=np.ascontiguousarray(boxes[:, :7]) if count else np.zeros((0, 7), np.float32),
        names=names,
        num_points=np.asarray(annos["num_points_in_gt"], dtype=np.int64).reshape(count),
        difficulty=np.asarray(annos["difficulty"], dtype=np.int64).reshape(count),
        number=int(place["sample_idx"]),
        pose=None if pose is None else np.asarray(pose, dtype=np.float64),
    )


def _sequence_folder(processed: Path, line: str, listing: Path) -> Path:
    name = line.removesuffix(".tfrecord")
    bare = name.removesuffix(CAMERA_SUFFIX)
    for candidate in (name, bare, bare + CAMERA_SUFFIX):
        if (processed / candidate).is_dir():
            return processed / candidate
    raise FileNotFoundError(f"{processed}: no folder {name}; {listing} names it")
