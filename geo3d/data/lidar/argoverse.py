"""Argoverse 2 sensor data set (NeurIPS 2021): sweeps and boxes of logs, for prediction and viewing.

    root/                                        sensor/val, for example; or one log's own folder
      7fab2350-7eaf-3b7e-a39d-6937a4c1bede/      a log
        sensors/lidar/315966265259836000.feather x y z intensity laser_number offset_ns, in the frame of the car
        sensors/cameras/ring_front_center/*.jpg  where downloaded
        annotations.feather                      boxes of every sweep; missing in the test split
        calibration/{intrinsics,egovehicle_SE3_sensor}.feather

Points and boxes are in the frame of the car (x forward, y left, z up). Needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from geo3d.data.lidar.sweeps import FEATURES, CameraView, LidarSample, read_arrow, read_sweep
from geo3d.geometry.cameras import Camera, invert_rigid, pinhole, rigid_matrix

# Categories of the 3D detection benchmark.
ARGOVERSE2_CLASSES = (
    *("REGULAR_VEHICLE", "PEDESTRIAN", "BOLLARD", "CONSTRUCTION_CONE", "CONSTRUCTION_BARREL", "STOP_SIGN", "BICYCLE"),
    *("LARGE_VEHICLE", "WHEELED_DEVICE", "BUS", "BOX_TRUCK", "SIGN", "TRUCK", "MOTORCYCLE", "BICYCLIST", "VEHICULAR_TRAILER"),
    *("TRUCK_CAB", "MOTORCYCLIST", "DOG", "SCHOOL_BUS", "WHEELED_RIDER", "STROLLER", "ARTICULATED_BUS"),
    *("MESSAGE_BOARD_TRAILER", "MOBILE_PEDESTRIAN_SIGN", "WHEELCHAIR"),
)
POSE_COLUMNS = ["qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"]
BOX_COLUMNS = [*POSE_COLUMNS, "length_m", "width_m", "height_m"]
MAX_LAG = 50_000_000  # nanoseconds between a sweep and the nearest image of a 20 Hz camera


class Argoverse2Dataset(Dataset[LidarSample]):
    """All sweeps of the logs in a folder, by log and time.

    Args:
        root: the folder drawn above, or the folder of one log.
        class_names: the classes that labels count; others are kept apart.

    Raises:
        FileNotFoundError: no sweep under the folder.
        ValueError: at access, a damaged file.
        ImportError: at access, pyarrow is not installed.
    """

    features: tuple[str, ...] = FEATURES["argoverse2"]

    def __init__(self, root: str | Path, class_names: Sequence[str] = ARGOVERSE2_CLASSES) -> None:
        self.root = Path(root)
        self.class_names = tuple(class_names)
        logs = [self.root] if (self.root / "sensors").is_dir() else sorted(path.parent for path in self.root.glob("*/sensors"))
        self.files = [path for log in logs for path in sorted((log / "sensors" / "lidar").glob("*.feather"))]
        if not self.files:
            raise FileNotFoundError(f"{self.root}: no sensors/lidar/*.feather in it or in a folder of it")
        self.frames = [f"{path.parents[2].name}/{path.stem}" for path in self.files]
        self._annotations: tuple[Path, dict[str, np.ndarray]] | None = None  # of the last log that was asked for
        self._calibration: tuple[Path, dict[str, Camera]] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LidarSample:
        path = self.files[index]
        log, sweep = path.parents[2], read_sweep(path)
        table = self._log_annotations(log)
        rows = np.flatnonzero(table["timestamp_ns"] == int(path.stem)) if table else np.zeros(0, np.int64)
        boxes = torch.from_numpy(table["boxes"][rows]).float() if table else torch.zeros(0, 7)
        names = table["category"][rows] if table else np.zeros(0, dtype=str)
        wanted = np.isin(names, self.class_names)
        return LidarSample(
            sweep.points,
            sweep.features,
            self.frames[index],
            path,
            boxes=boxes[wanted],
            labels=torch.tensor([self.class_names.index(name) for name in names[wanted]], dtype=torch.int64),
            class_names=self.class_names,
            num_points=torch.from_numpy(table["num_interior_pts"][rows][wanted]) if table else None,
            other_boxes=boxes[~wanted],
            other_names=tuple(names[~wanted].tolist()),
            cameras=self._cameras(log, int(path.stem)),
            sensor=sweep.sensor,
        )

    def _log_annotations(self, log: Path) -> dict[str, np.ndarray]:
        """timestamp_ns, category, num_interior_pts and boxes [R, 7] of a log; nothing for logs without annotations."""
        if self._annotations is None or self._annotations[0] != log:
            path = log / "annotations.feather"
            self._annotations = (log, _read_annotations(path) if path.is_file() else {})
        return self._annotations[1]

    def _cameras(self, log: Path, timestamp: int) -> tuple[CameraView, ...]:
        """The image of each camera that is nearest in time."""
        if not (log / "sensors" / "cameras").is_dir():
            return ()
        if self._calibration is None or self._calibration[0] != log:
            self._calibration = (log, read_argoverse2_cameras(log))
        views = []
        for name, camera in self._calibration[1].items():
            pictures = list((log / "sensors" / "cameras" / name).glob("*.jpg"))
            nearest = min(pictures, key=lambda picture: abs(int(picture.stem) - timestamp), default=None)
            if nearest is not None and abs(int(nearest.stem) - timestamp) <= MAX_LAG:
                views.append(CameraView(name, nearest, camera))
        return tuple(views)


def read_argoverse2_cameras(log: str | Path) -> dict[str, Camera]:
    """Cameras of a log by name; their distortion and the car's motion between image and sweep are left out.

    Raises:
        FileNotFoundError: no calibration.
        ValueError: a damaged table.
        ImportError: pyarrow is not installed.
    """
    folder = Path(log) / "calibration"
    sensors = read_arrow(folder / "egovehicle_SE3_sensor.feather", ["sensor_name", *POSE_COLUMNS]).to_pylist()
    poses = {row["sensor_name"]: rigid_matrix(*_pose_values(row)) for row in sensors}
    columns = ["sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "height_px", "width_px"]
    cameras = {}
    for row in read_arrow(folder / "intrinsics.feather", columns).to_pylist():
        name = row["sensor_name"]
        if name not in poses:
            raise ValueError(
                f"{folder / 'egovehicle_SE3_sensor.feather'}: expected a pose of {name}, which intrinsics.feather names"
            )
        intrinsics = [[row["fx_px"], 0, row["cx_px"]], [0, row["fy_px"], row["cy_px"]], [0, 0, 1]]
        cameras[name] = pinhole(intrinsics, invert_rigid(poses[name]), (row["width_px"], row["height_px"]))
    return cameras


def _pose_values(row: dict[str, float]) -> tuple[list[float], list[float]]:
    return [row[name] for name in POSE_COLUMNS[:4]], [row[name] for name in POSE_COLUMNS[4:]]


def _read_annotations(path: Path) -> dict[str, np.ndarray]:
    table = read_arrow(path, ["timestamp_ns", "category", "num_interior_pts", *BOX_COLUMNS])
    values = {name: table[name].to_numpy() for name in BOX_COLUMNS}
    quaternion = np.stack([values[name] for name in POSE_COLUMNS[:4]], 1)
    forward = rigid_matrix(quaternion, np.zeros((len(quaternion), 3)))[:, :2, 0]
    columns = [values[name] for name in (*POSE_COLUMNS[4:], "length_m", "width_m", "height_m")]
    return {
        "timestamp_ns": table["timestamp_ns"].to_numpy(),
        "category": np.array(table["category"].to_pylist(), dtype=str),
        "num_interior_pts": table["num_interior_pts"].to_numpy().astype(np.int64),
        "boxes": np.stack([*columns, np.arctan2(forward[:, 1], forward[:, 0])], 1),
    }
