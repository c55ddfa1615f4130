"""nuScenes' tables: records that name each other by tokens, one JSON file a table.

nuscenes-devkit reads the same files, but its releases ask for numpy below 2, so geo3d reads them itself. Nothing here touches a
sensor file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.lidar.nuscenes_schema import check_record
from geo3d.geometry.cameras import invert_rigid, rigid_matrix

Record = dict[str, Any]
TABLES = (
    "category",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
)
ATTRIBUTES = "attribute"
MAX_GAP = 1.5  # seconds between annotations of an object that still give a velocity; twice that across the key frame

# The classes of the detection benchmark, in the order of the published models.
NUSCENES_CLASSES = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)
CLASS_OF_CATEGORY = {
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.construction": "construction_vehicle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.trailer": "trailer",
    "movable_object.barrier": "barrier",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "movable_object.trafficcone": "traffic_cone",
}

# Numbers of the validation scenes of v1.0-trainval, first and last of each run; its other scenes are for training.
_VAL_RUNS = (
    *((3, 3), (12, 18), (35, 36), (38, 39), (92, 110), (221, 221), (268, 278), (329, 332), (344, 346), (519, 524), (552, 565)),
    *((625, 627), (629, 630), (632, 638), (770, 771), (775, 775), (777, 778), (780, 784), (794, 800), (802, 802), (904, 917)),
    *((919, 931), (962, 963), (966, 969), (971, 972), (1059, 1073)),
)
VAL_SCENES = frozenset(f"scene-{number:04d}" for first, last in _VAL_RUNS for number in range(first, last + 1))
MINI_VAL_SCENES = frozenset(("scene-0103", "scene-0916"))


class NuScenesTables:
    """The tables of one version in memory, by token.

    Args:
        folder: the version's folder, such as `root/v1.0-mini`.

    Raises:
        FileNotFoundError: a table is missing.
        ValueError: a file that is no JSON list of records, or one whose fields are missing or wrong; the message names file, record and field.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records = {name: {record["token"]: record for record in _read_table(folder, name)} for name in TABLES}
        self._data_of_sample: dict[str, dict[str, Record]] = {}
        for record in self._records["sample_data"].values():
            if record["is_key_frame"]:
                self._data_of_sample.setdefault(record["sample_token"], {})[self.channel(record)] = record
        self._annotations_of_sample: dict[str, list[Record]] = {}
        for record in self._records["sample_annotation"].values():
            self._annotations_of_sample.setdefault(record["sample_token"], []).append(record)
        named = _read_table(folder, ATTRIBUTES) if (folder / f"{ATTRIBUTES}.json").is_file() else []  # only evaluation needs it
        self._attribute_names = {record["token"]: str(record["name"]) for record in named}

    def record(self, table: str, token: str) -> Record:
        """One record; raises ValueError where a table names a token that another lacks."""
        try:
            return self._records[table][token]
        except KeyError:
            raise ValueError(
                f"{self.folder / table}.json: expected a record with token {token}, which another table names"
            ) from None

    def scenes(self) -> list[Record]:
        """All scenes, by name."""
        return sorted(self._records["scene"].values(), key=lambda scene: scene["name"])

    def samples(self, scene: Record) -> Iterator[Record]:
        """Key frames of a scene in the order of time; raises ValueError where one follows itself."""
        token, seen = scene["first_sample_token"], set()
        while token:
            if token in seen:
                raise ValueError(f"{self.folder / 'sample'}.json: record {token}: next leads back to it")
            seen.add(token)
            sample = self.record("sample", token)
            yield sample
            token = sample["next"]

    def channel(self, data: Record) -> str:
        """Name of the sensor that a record of `sample_data` is from, such as LIDAR_TOP."""
        sensor = self.record("calibrated_sensor", data["calibrated_sensor_token"])["sensor_token"]
        return self.record("sensor", sensor)["channel"]

    def key_data(self, sample: Record) -> dict[str, Record]:
        """Records of `sample_data` of a key frame, by channel."""
        return self._data_of_sample.get(sample["token"], {})

    def annotations(self, sample: Record) -> list[Record]:
        """Boxes of a key frame."""
        return self._annotations_of_sample.get(sample["token"], [])

    def previous_sweeps(self, data: Record, count: int) -> list[Record]:
        """Up to `count` records of `sample_data` of the same sensor before this one, the latest first."""
        sweeps: list[Record] = []
        while data["prev"] and len(sweeps) < count:
            data = self.record("sample_data", data["prev"])
            sweeps.append(data)
        return sweeps

    def global_from_sensor(self, data: Record) -> np.ndarray:
        """[4, 4] pose of the sensor at the time of a record of `sample_data`."""
        sensor = self.record("calibrated_sensor", data["calibrated_sensor_token"])
        ego = self.record("ego_pose", data["ego_pose_token"])
        return _pose(ego) @ _pose(sensor)

    def intrinsics(self, data: Record) -> np.ndarray:
        """[3, 3] of a camera; raises ValueError for a sensor that has none."""
        sensor = self.record("calibrated_sensor", data["calibrated_sensor_token"])
        if not sensor["camera_intrinsic"]:
            raise ValueError(
                f"{self.folder / 'calibrated_sensor'}.json: record {sensor['token']} of a camera has no camera_intrinsic"
            )
        return np.array(sensor["camera_intrinsic"], dtype=np.float64)

    def category(self, annotation: Record) -> str:
        """Full name of a box's category, such as vehicle.car."""
        instance = self.record("instance", annotation["instance_token"])
        return self.record("category", instance["category_token"])["name"]

    def attribute(self, annotation: Record) -> str:
        """What an object does, such as vehicle.parked, or "" where that is not annotated."""
        tokens = annotation.get("attribute_tokens") or [""]
        return self._attribute_names.get(tokens[0], "")

    def velocity(self, annotation: Record) -> np.ndarray:
        """[3] metres per second in the global frame from the annotations before and after; NaN where there are none in time."""
        ends = [annotation[side] for side in ("prev", "next")]
        first, last = (self.record("sample_annotation", token) if token else annotation for token in ends)
        seconds = 1e-6 * (self._timestamp(last) - self._timestamp(first))
        longest = MAX_GAP * (2 if all(ends) else 1)
        if not 0 < seconds <= longest:
            return np.full(3, np.nan)
        return (np.array(last["translation"]) - np.array(first["translation"])) / seconds

    def _timestamp(self, annotation: Record) -> int:
        return self.record("sample", annotation["sample_token"])["timestamp"]


def relative_pose(tables: NuScenesTables, target: Record, source: Record) -> np.ndarray:
    """[4, 4] that takes points of one record of `sample_data` to the sensor frame and moment of another."""
    return invert_rigid(tables.global_from_sensor(target)) @ tables.global_from_sensor(source)


def annotation_box(annotation: Record) -> np.ndarray:
    """[9] box in the global frame, without velocity."""
    width, length, height = annotation["size"]
    forward = rigid_matrix(annotation["rotation"], np.zeros(3))[:2, 0]
    return np.array([*annotation["translation"], length, width, height, np.arctan2(forward[1], forward[0]), 0, 0])


def _pose(record: Record) -> np.ndarray:
    return rigid_matrix(record["rotation"], record["translation"])


def _read_table(folder: Path, name: str) -> list[Record]:
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no {name}.json")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a JSON list of records, got {error}") from None
    if not isinstance(records, list):
        raise ValueError(f"{path}: expected a JSON list of records with tokens")
    for record in records:
        problem = check_record(name, record)
        if problem is not None:
            raise ValueError(f"{path}: {problem}")
    return records
