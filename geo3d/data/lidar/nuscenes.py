"""nuScenes (CVPR 2020): key frames with the LiDAR sweeps before them, boxes with velocities, six cameras.

    root/
      v1.0-trainval/*.json            tables; or v1.0-mini, v1.0-test
      samples/LIDAR_TOP/*.pcd.bin     key frames: float32 x y z intensity ring
      samples/CAM_FRONT/*.jpg ...
      sweeps/LIDAR_TOP/*.pcd.bin      what lies between key frames

Points and boxes are in the frame of the LiDAR at the key frame as nuScenes mounts it, x to the right and y forward, which
published models are trained in. A point has x, y, z, intensity (0..255) and its age in seconds.
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

from geo3d.data.cache import cached_arrays
from geo3d.data.lidar.nuscenes_tables import (
    ATTRIBUTES,
    CLASS_OF_CATEGORY,
    MINI_VAL_SCENES,
    NUSCENES_CLASSES,
    TABLES,
    VAL_SCENES,
    NuScenesTables,
    Record,
    annotation_box,
    relative_pose,
)
from geo3d.data.lidar.sensors import SENSORS
from geo3d.data.lidar.sweeps import CameraView, LidarSample, finite_points, read_checked_rows
from geo3d.geometry.boxes import transform_boxes
from geo3d.geometry.cameras import invert_rigid, pinhole

NuScenesSplit = Literal["train", "val", "all"]
LIDAR = "LIDAR_TOP"
EGO_RADIUS = 1.0  # metres; points of earlier sweeps with |x| and |y| below are on the car itself


@dataclass(frozen=True, eq=False)
class NuScenesObjects:
    """All annotations of a key frame as the benchmark takes them; K may be 0.

    Attributes:
        boxes: [K, 9] float64 in the global frame, as annotated; velocities are NaN where they are unknown.
        names: [K] classes, or full names of categories that are in none.
        attributes: [K] such as vehicle.parked, "" where there is none.
        num_points: [K] int64 of LiDAR and radar.
        position: [3] float64 of the car.
    """

    boxes: np.ndarray
    names: np.ndarray
    attributes: np.ndarray
    num_points: np.ndarray
    position: np.ndarray


class NuScenesDataset(Dataset[LidarSample]):
    """Key frames of one split. What the tables say about them is cached beside the data, or in geo3d's cache folder.

    Args:
        root: the folder drawn above.
        split: "train", "val" or "all" (of v1.0-test: "all").
        version: the folder of the tables; by default the first of v1.0-trainval, v1.0-mini, v1.0-test that is there.
        class_names: the classes that labels count; other categories are kept apart.
        num_sweeps: sweeps of a sample: the key frame and those before it, moved along with the car.
        repeat_sweeps: where a scene has fewer sweeps before a key frame, repeat the oldest (or the key frame itself), as the
            published model was trained and evaluated. False joins what there is.

    Raises:
        FileNotFoundError: a table, or at access a sweep, is missing.
        ValueError: a damaged table, tables without any scene of the split, or at access a damaged sweep.
    """

    features: tuple[str, ...] = ("intensity", "time")

    def __init__(
        self,
        root: str | Path,
        split: NuScenesSplit = "all",
        *,
        version: str | None = None,
        class_names: Sequence[str] = NUSCENES_CLASSES,
        num_sweeps: int = 10,
        repeat_sweeps: bool = False,
    ) -> None:
        name = type(self).__name__
        if split not in get_args(NuScenesSplit):
            raise ValueError(f"{name}: split must be one of {list(get_args(NuScenesSplit))}, got {split!r}")
        if num_sweeps < 1:
            raise ValueError(f"{name}: num_sweeps must be at least 1, got {num_sweeps}")
        self.root = Path(root)
        self.split = split
        self.class_names = tuple(class_names)
        self.num_sweeps = num_sweeps
        self.repeat_sweeps = repeat_sweeps
        folder = self.root / (version or _found_version(self.root))
        if not folder.is_dir():
            raise FileNotFoundError(f"{self.root}: no folder {folder.name} with the tables")
        sources = [folder / f"{table}.json" for table in TABLES]
        missing = [path.name for path in sources if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"{folder}: no {missing[0]}")
        self.arrays = cached_arrays(
            self.root,
            f"nuscenes_{folder.name}_{split}_{num_sweeps}",
            [*sources, *folder.glob(f"{ATTRIBUTES}.json")],
            (split, num_sweeps, sorted(CLASS_OF_CATEGORY.items()), "with what the benchmark takes"),
            lambda: _collect(NuScenesTables(folder), split, num_sweeps),
        )
        self.frames: list[str] = self.arrays["tokens"].tolist()
        if not self.frames:
            raise ValueError(f"{folder}: expected scenes of the split {split!r}, got none")

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> LidarSample:
        index = range(len(self))[index]  # negative ones too, and IndexError past the end
        names = self._rows("box", "box_names", index)
        boxes = torch.from_numpy(self._rows("box", "boxes", index)).float()
        counts = torch.from_numpy(self._rows("box", "num_points", index))
        wanted = np.isin(names, self.class_names)
        sweeps = self._rows("sweep", "sweep_files", index)
        return LidarSample(
            self._points(index),
            self.features,
            self.frames[index],
            self.root / str(sweeps[0]),
            boxes=boxes[wanted],
            labels=torch.tensor([self.class_names.index(name) for name in names[wanted]], dtype=torch.int64),
            class_names=self.class_names,
            num_points=counts[wanted],
            other_boxes=boxes[~wanted],
            other_names=tuple(names[~wanted].tolist()),
            cameras=self._cameras(index),
            sensor=SENSORS["nuscenes"],
        )

    def global_from_lidar(self, index: int) -> np.ndarray:
        """[4, 4] pose of the LiDAR at a key frame, in which the benchmark wants its boxes (`transform_boxes`)."""
        return self.arrays["global_from_lidar"][index]

    def objects(self, index: int) -> NuScenesObjects:
        """What the benchmark compares detections in a key frame with."""
        boxes, names, attributes, num_points = (
            self._rows("box", column, index) for column in ("global_boxes", "box_names", "attributes", "num_any_points")
        )
        return NuScenesObjects(boxes, names, attributes, num_points, self.arrays["positions"][index])

    def label_sets(self) -> list[set[int]]:
        """Labels that occur in each key frame, without reading any sweep; for class-balanced sampling."""
        return [
            {self.class_names.index(name) for name in self._rows("box", "box_names", index) if name in self.class_names}
            for index in range(len(self))
        ]

    def _points(self, index: int) -> torch.Tensor:
        """[N, 5]: the key frame, then earlier sweeps moved into its frame, the latest first."""
        files = self._rows("sweep", "sweep_files", index).tolist()
        poses, ages = self._rows("sweep", "sweep_poses", index), self._rows("sweep", "sweep_ages", index)
        order = list(range(len(files)))
        if self.repeat_sweeps:
            order += order[-1:] * (self.num_sweeps - len(order))
        clouds = []
        for place, sweep in enumerate(order):
            rows = read_checked_rows(self.root / files[sweep], "nuscenes")[:, :4]
            if place:  # the key frame keeps its points on the car
                rows = rows[(np.abs(rows[:, :2]) >= EGO_RADIUS).any(1)]
            moved = np.empty((len(rows), 5), np.float32)
            moved[:, :3] = rows[:, :3] if sweep == 0 else rows[:, :3] @ poses[sweep, :3, :3].T + poses[sweep, :3, 3]
            moved[:, 3], moved[:, 4] = rows[:, 3], ages[sweep]
            clouds.append(moved)
        return finite_points(np.concatenate(clouds))

    def _cameras(self, index: int) -> tuple[CameraView, ...]:
        columns = ("camera_files", "intrinsics", "camera_poses", "camera_sizes")
        rows = zip(*(self._rows("camera", column, index) for column in columns), strict=True)
        return tuple(
            CameraView(Path(file).parent.name, self.root / file, pinhole(intrinsics, pose, (int(size[0]), int(size[1]))))
            for file, intrinsics, pose, size in rows
        )

    def _rows(self, kind: str, column: str, index: int) -> np.ndarray:
        ends = self.arrays[f"{kind}_ends"]
        return self.arrays[column][ends[index - 1] if index else 0 : ends[index]]


def class_of_category(category: str) -> str:
    """The detection class of a category's full name; the name itself for categories that are in none."""
    return CLASS_OF_CATEGORY.get(category, category)


def _found_version(root: Path) -> str:
    for name in ("v1.0-trainval", "v1.0-mini", "v1.0-test"):
        if (root / name).is_dir():
            return name
    raise FileNotFoundError(f"{root}: no folder v1.0-trainval, v1.0-mini or v1.0-test with the tables")


def _in_split(scene: str, split: str) -> bool:
    return split == "all" or (scene in VAL_SCENES or scene in MINI_VAL_SCENES) == (split == "val")


def _collect(tables: NuScenesTables, split: str, num_sweeps: int) -> dict[str, np.ndarray]:
    """What the data set needs of the tables, as flat arrays; `..._ends` are the ends of each key frame's rows."""
    frames: list[tuple[str, np.ndarray]] = []
    sweeps: list[tuple[str, np.ndarray, float]] = []
    boxes: list[tuple[np.ndarray, np.ndarray, str, str, int, int]] = []
    positions: list[Any] = []
    cameras: list[tuple[str, np.ndarray, np.ndarray, tuple[int, int]]] = []
    ends: dict[str, list[int]] = {"sweep": [], "box": [], "camera": []}
    samples = [sample for scene in tables.scenes() if _in_split(scene["name"], split) for sample in tables.samples(scene)]
    for sample in tqdm(samples, desc=f"nuScenes tables {split}", unit="frame", disable=None if len(samples) > 100 else True):
        data = tables.key_data(sample)
        if LIDAR not in data:
            raise ValueError(f"{tables.folder}: expected a key frame of {LIDAR} for sample {sample['token']}")
        lidar = data[LIDAR]
        frames.append((sample["token"], tables.global_from_sensor(lidar)))
        positions.append(tables.record("ego_pose", lidar["ego_pose_token"])["translation"])
        sweeps.append((lidar["filename"], np.eye(4), 0.0))
        for sweep in tables.previous_sweeps(lidar, num_sweeps - 1):
            age = 1e-6 * (lidar["timestamp"] - sweep["timestamp"])
            sweeps.append((sweep["filename"], relative_pose(tables, lidar, sweep), age))
        boxes.extend(_boxes(tables, sample, frames[-1][1]))
        for channel in sorted(data):
            if channel.startswith("CAM"):
                view = data[channel]
                if not (view.get("width") and view.get("height")):
                    raise ValueError(f"{tables.folder / 'sample_data'}.json: record {view['token']} lacks width or height")
                size = (view["width"], view["height"])
                cameras.append((view["filename"], tables.intrinsics(view), relative_pose(tables, view, lidar), size))
        for kind, rows in (("sweep", sweeps), ("box", boxes), ("camera", cameras)):
            ends[kind].append(len(rows))
    return {
        "tokens": np.array([token for token, _ in frames], dtype=str),
        "global_from_lidar": _stack([pose for _, pose in frames], (4, 4)),
        "sweep_files": np.array([row[0] for row in sweeps], dtype=str),
        "sweep_poses": _stack([row[1] for row in sweeps], (4, 4)),
        "sweep_ages": np.array([row[2] for row in sweeps]),
        "positions": _stack(positions, (3,)),
        "boxes": _stack([row[0] for row in boxes], (9,)),
        "global_boxes": _stack([row[1] for row in boxes], (9,)),
        "box_names": np.array([row[2] for row in boxes], dtype=str),
        "attributes": np.array([row[3] for row in boxes], dtype=str),
        "num_points": np.array([row[4] for row in boxes], dtype=np.int64),
        "num_any_points": np.array([row[4] + row[5] for row in boxes], dtype=np.int64),
        "camera_files": np.array([row[0] for row in cameras], dtype=str),
        "intrinsics": _stack([row[1] for row in cameras], (3, 3)),
        "camera_poses": _stack([row[2] for row in cameras], (4, 4)),
        "camera_sizes": np.array([row[3] for row in cameras], dtype=np.int64).reshape(-1, 2),
        **{f"{kind}_ends": np.array(values, dtype=np.int64) for kind, values in ends.items()},
    }


def _boxes(
    tables: NuScenesTables, sample: Record, global_from_lidar: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, str, str, int, int]]:
    """Of each annotation the box [9] in the LiDAR frame, where unknown velocities are 0, that in the global frame, class, attribute,
    and the points of LiDAR and of radar."""
    lidar_from_global = invert_rigid(global_from_lidar)
    rows = []
    for annotation in tables.annotations(sample):
        box, velocity = annotation_box(annotation), tables.velocity(annotation)
        local = transform_boxes(box[None], lidar_from_global)[0]
        local[7:] = np.nan_to_num((lidar_from_global[:3, :3] @ velocity)[:2])
        box[7:] = velocity[:2]
        name, attribute = class_of_category(tables.category(annotation)), tables.attribute(annotation)
        rows.append((local, box, name, attribute, int(annotation["num_lidar_pts"]), int(annotation.get("num_radar_pts", 0))))
    return rows


def _stack(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(values, dtype=np.float64).reshape(-1, *shape)
