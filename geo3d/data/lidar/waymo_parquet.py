"""Waymo Open Dataset, release 2: Parquet files, one table a component and segment. Needs pyarrow.

    root/                                one split: training, validation or testing
      lidar/<segment>.parquet            range images of both returns of five lidars
      lidar_pose/<segment>.parquet       pose of the car at each pixel of the top lidar, which turns while the car moves
      lidar_calibration/<segment>.parquet
      lidar_box/<segment>.parquet        missing in testing
      vehicle_pose/<segment>.parquet

Points and boxes are in the frame of the car at the frame's time (x forward, y left, z up). A frame takes about a second to read:
for training use the processed layout of `geo3d.data.lidar.waymo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from geo3d.data.lidar.sensors import SENSORS
from geo3d.data.lidar.sweeps import LidarSample, read_arrow
from geo3d.data.lidar.waymo import WAYMO_CLASSES, WAYMO_FEATURES, WaymoFrame, waymo_points, with_waymo_boxes
from geo3d.geometry.cameras import invert_rigid

TIME, LASER = "key.frame_timestamp_micros", "key.laser_name"
TOP = 1  # the lidar on the roof; 2 front, 3 left, 4 right, 5 rear
TYPE_NAMES = np.array(["unknown", "Vehicle", "Pedestrian", "Sign", "Cyclist"])
BOX = "[LiDARBoxComponent]."
BOX_FIELDS = (*(f"{BOX}box.{part}.{axis}" for part in ("center", "size") for axis in "xyz"), f"{BOX}box.heading")
CALIBRATION = "[LiDARCalibrationComponent]."
POSE = "[VehiclePoseComponent].world_from_vehicle.transform"


class WaymoParquetDataset(Dataset[LidarSample]):
    """Frames of all segments in a folder, by segment and time.

    Args:
        root: the folder drawn above.
        class_names: the classes that labels count; signs are kept apart, objects without a class are left out.
        no_label_zones: keep points where nothing is labelled.

    Raises:
        FileNotFoundError: no segment, or at access a component of one is missing.
        ValueError: a damaged table.
        ImportError: pyarrow is not installed.
    """

    features: tuple[str, ...] = WAYMO_FEATURES

    def __init__(self, root: str | Path, class_names: Sequence[str] = WAYMO_CLASSES, *, no_label_zones: bool = True) -> None:
        self.root = Path(root)
        self.class_names = tuple(class_names)
        self.no_label_zones = no_label_zones
        segments = sorted((self.root / "lidar").glob("*.parquet"))
        if not segments:
            raise FileNotFoundError(f"{self.root}: no lidar/*.parquet (root is the folder of a split, such as training)")
        self._times: list[tuple[str, int]] = []
        for path in segments:
            times = read_arrow(self.root / "vehicle_pose" / path.name, [TIME])[TIME].to_numpy()
            self._times += [(path.stem, int(time)) for time in np.unique(times)]
        self.frames = [f"{segment}/{time}" for segment, time in self._times]

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> LidarSample:
        segment, time = self._times[index]
        source = self.root / "lidar" / f"{segment}.parquet"
        points = waymo_points(self._rows(segment, time), self.no_label_zones)
        names, sensor = self.class_names, SENSORS["waymo"]
        sample = LidarSample(points, self.features, self.frames[index], source, class_names=names, sensor=sensor)
        boxes = self.root / "lidar_box" / f"{segment}.parquet"
        return with_waymo_boxes(sample, _read_boxes(boxes, time, sample.frame), self.class_names) if boxes.is_file() else sample

    def _rows(self, segment: str, time: int) -> np.ndarray:
        """[N, 6] x y z intensity elongation no_label_zone: first returns of lidars 1 to 5, then second returns."""
        file = f"{segment}.parquet"
        calibrations = {row[LASER]: row for row in read_arrow(self.root / "lidar_calibration" / file).to_pylist()}
        vehicle = _frame_rows(self.root / "vehicle_pose" / file, time)[0]
        pixel_poses = {row[LASER]: row for row in _frame_rows(self.root / "lidar_pose" / file, time)}
        world_from_vehicle = np.asarray(vehicle[POSE], dtype=np.float64).reshape(4, 4)
        lidars = sorted(_frame_rows(self.root / "lidar" / file, time), key=lambda row: row[LASER])
        clouds = []
        for component in ("[LiDARComponent].range_image_return1", "[LiDARComponent].range_image_return2"):
            for row in lidars:
                image = _image(row, component)
                if image is None:
                    continue
                if row[LASER] not in calibrations:
                    raise ValueError(
                        f"{self.root / 'lidar_calibration' / file}: expected lidar {row[LASER]}, which lidar/{file} has"
                    )
                pose = pixel_poses.get(row[LASER])
                pixels = None if pose is None else _image(pose, "[LiDARPoseComponent].range_image_return1")
                clouds.append(
                    range_image_points(image, *_beams(calibrations[row[LASER]], len(image)), pixels, world_from_vehicle)
                )
        return np.concatenate(clouds) if clouds else np.zeros((0, 6), np.float32)


def range_image_points(
    image: np.ndarray,
    inclinations: np.ndarray,
    vehicle_from_lidar: np.ndarray,
    pixel_poses: np.ndarray | None = None,
    world_from_vehicle: np.ndarray | None = None,
) -> np.ndarray:
    """Points of a range image, as the data set's paper and format description define it.

    Columns are azimuths, from pi down to -pi about the car's z axis; rows are beams.

    Args:
        image: [H, W, 4] range, intensity, elongation, no_label_zone; a range of 0 or less is no return.
        inclinations: [H] radians, of row 0 first.
        vehicle_from_lidar: [4, 4].
        pixel_poses: [H, W, 6] roll, pitch, yaw, x, y, z, pose of the car in the world when the pixel was measured, or None
            where the whole image counts as measured at once.
        world_from_vehicle: [4, 4] pose of the car at the frame's time; only with `pixel_poses`.

    Returns:
        [N, 6] float32 x y z intensity elongation no_label_zone in the frame of the car, row by row.

    Raises:
        ValueError: shapes that do not fit.
    """
    height, width = image.shape[:2]
    if image.shape[2:] != (4,) or inclinations.shape != (height,):
        raise ValueError(
            f"range image must be [H, W, 4] and inclinations [H], got {list(image.shape)}, {list(inclinations.shape)}"
        )
    rows, columns = np.nonzero(image[..., 0] > 0)
    values = image[rows, columns].astype(np.float64)
    # The image is laid out by the car's axes; the lidar's own yaw is taken off because the extrinsic puts it on again.
    yaw = np.arctan2(vehicle_from_lidar[1, 0], vehicle_from_lidar[0, 0])
    azimuth = np.pi * (1 - 2 * (columns + 0.5) / width) - yaw
    inclination = inclinations[rows]
    level = np.cos(inclination)
    directions = np.stack((np.cos(azimuth) * level, np.sin(azimuth) * level, np.sin(inclination)), 1)
    points = values[:, :1] * directions @ vehicle_from_lidar[:3, :3].T + vehicle_from_lidar[:3, 3]
    if pixel_poses is not None and world_from_vehicle is not None and len(points):
        if pixel_poses.shape != (height, width, 6):
            raise ValueError(f"pixel poses must be [{height}, {width}, 6], got {list(pixel_poses.shape)}")
        poses = pixel_poses[rows, columns].astype(np.float64)
        points = Rotation.from_euler("xyz", poses[:, :3]).apply(points) + poses[:, 3:]
        vehicle_from_world = invert_rigid(world_from_vehicle)
        points = points @ vehicle_from_world[:3, :3].T + vehicle_from_world[:3, 3]
    return np.concatenate((points, values[:, 1:]), 1).astype(np.float32)


def _beams(calibration: dict[str, Any], height: int) -> tuple[np.ndarray, np.ndarray]:
    """Inclinations [H], the topmost row first, and vehicle_from_lidar [4, 4] of a row of lidar_calibration."""
    extrinsic = np.asarray(calibration[f"{CALIBRATION}extrinsic.transform"], dtype=np.float64).reshape(4, 4)
    values = calibration[f"{CALIBRATION}beam_inclination.values"]
    if values is None or not len(values):  # beams at equal angles, their ends half a step outside
        low, high = (calibration[f"{CALIBRATION}beam_inclination.{end}"] for end in ("min", "max"))
        values = low + (np.arange(height) + 0.5) / height * (high - low)
    return np.asarray(values, dtype=np.float64)[::-1], extrinsic


def _image(row: dict[str, Any], component: str) -> np.ndarray | None:
    """Array of a range image, or None where the lidar has none."""
    values = row.get(f"{component}.values")
    return None if values is None else np.asarray(values, dtype=np.float32).reshape(row[f"{component}.shape"])


def _frame_rows(path: Path, time: int) -> list[dict[str, Any]]:
    """Rows of one frame; lists become arrays."""
    table = read_arrow(path, equals=(TIME, time))
    if not table.num_rows:
        raise ValueError(f"{path}: expected rows with {TIME} = {time}, got none")
    columns = {name: table[name] for name in table.column_names}
    return [{name: _value(column[row]) for name, column in columns.items()} for row in range(table.num_rows)]


def _value(scalar: Any) -> Any:
    """Python value of a pyarrow scalar; a list of numbers as an array, without a Python object for each."""
    values = getattr(scalar, "values", None)
    return scalar.as_py() if values is None else values.to_numpy(zero_copy_only=False)


def _read_boxes(path: Path, time: int, frame: str) -> WaymoFrame:
    """Boxes of one frame; there may be none."""
    types, counts, levels = f"{BOX}type", f"{BOX}num_lidar_points_in_box", f"{BOX}difficulty_level.detection"
    table = read_arrow(path, [TIME, types, counts, *BOX_FIELDS], optional=[levels], equals=(TIME, time))
    boxes = np.stack([table[name].to_numpy() for name in BOX_FIELDS], 1).astype(np.float32)
    numbers = table[types].to_numpy().astype(np.int64)
    difficulty = np.zeros(len(boxes), np.int64)
    if levels in table.column_names:
        difficulty = np.nan_to_num(table[levels].to_numpy().astype(np.float64)).astype(np.int64)  # null where not graded
    num_points = table[counts].to_numpy().astype(np.int64)
    return WaymoFrame(path, frame, boxes, TYPE_NAMES[np.clip(numbers, 0, 4)], num_points, difficulty)
