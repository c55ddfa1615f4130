"""Boxes that `geo3d predict` wrote as JSON, or KITTI label files with scores, found again by the frame they belong to.

{"file": "velodyne/000008.bin", "objects": [{"name": "Car", "score": 0.9, "center": [x, y, z], "size": [dx, dy, dz], "yaw": 0.1}]}

or a list of these.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.lidar.kitti_labels import read_label_file
from geo3d.data.lidar.sweeps import LidarSample
from geo3d.geometry.boxes import boxes_from_kitti

SUFFIX = "_boxes"  # of the files that `geo3d predict` names after a sweep


@dataclass(frozen=True, eq=False)
class PredictedBoxes:
    """boxes [K, 7] in the frame of the points, names K, scores [K]."""

    boxes: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray

    def at_least(self, score: float) -> PredictedBoxes:
        """Those with that score or more."""
        kept = self.scores >= score
        return PredictedBoxes(self.boxes[kept], tuple(np.array(self.names, dtype=object)[kept]), self.scores[kept])


@dataclass(frozen=True, eq=False)
class Predictions:
    """Results by the name of their frame, or label files that wait for their frame's camera.

    Attributes:
        source: where they come from.
        results: boxes by frame; the frame of a file is its name without suffix.
        files: the sweeps that results name, in order.
        label_files: KITTI's, by frame.
    """

    source: Path
    results: dict[str, PredictedBoxes]
    files: tuple[Path, ...]
    label_files: dict[str, Path]

    def of(self, sample: LidarSample) -> PredictedBoxes | None:
        """The boxes of a frame; None where the predictions do not name it.

        Raises:
            ValueError: a label file that is damaged, or whose frame has no camera to tell where its boxes are.
        """
        name = frame_name(sample.source)
        for key in (name, sample.frame):
            if key in self.results:
                return self.results[key]
        path = self.label_files.get(sample.frame)
        return None if path is None else _from_labels(path, sample)


def read_predictions(path: str | Path) -> Predictions:
    """Predictions of a JSON file, or of all JSON and KITTI label files (.txt) in a folder.

    Raises:
        FileNotFoundError: no such path, or a folder without such files.
        ValueError: JSON that holds no boxes.
    """
    path = Path(path)
    if path.is_dir():
        tables = sorted(path.glob("*.json"))
        labels = {file.stem.removesuffix(SUFFIX): file for file in sorted(path.glob("*.txt"))}
        if not tables and not labels:
            raise FileNotFoundError(f"{path}: no predictions in it (*.json, or KITTI's *.txt)")
    elif path.is_file():
        tables, labels = ([], {path.stem.removesuffix(SUFFIX): path}) if path.suffix == ".txt" else ([path], {})
    else:
        raise FileNotFoundError(f"{path}: no such file or folder")
    results: dict[str, PredictedBoxes] = {}
    files: list[Path] = []
    for table in tables:
        for file, boxes in _read_table(table):
            results[frame_name(file)] = boxes
            files.append(file)
    return Predictions(path, results, tuple(files), labels)


def frame_name(file: Path) -> str:
    """The frame of a sweep's file: its name without suffix, .pcd.bin being one."""
    return file.name.removesuffix(".bin").removesuffix(".pcd") if file.name.endswith(".bin") else file.stem


def _read_table(path: Path) -> list[tuple[Path, PredictedBoxes]]:
    """(sweep, boxes) of each result; files that are not found from here are looked for beside the JSON file."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    found = []
    for entry in content if isinstance(content, list) else [content]:
        if not isinstance(entry, dict) or not {"file", "objects"} <= set(entry):
            raise ValueError(f"{path}: expected boxes as geo3d predict writes them, got an entry without 'file' and 'objects'")
        try:
            boxes = _as_boxes(entry["objects"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected objects with name, score, center, size and yaw, got {error}") from None
        found.append((_beside(path, Path(str(entry["file"]))), boxes))
    return found


def _beside(path: Path, file: Path) -> Path:
    """The sweep as seen from here, or from the folder of the JSON file."""
    return path.parent / file if not file.exists() and (path.parent / file).exists() else file


def _as_boxes(objects: list[dict[str, Any]]) -> PredictedBoxes:
    rows = [[*each["center"], *each["size"], each["yaw"]] for each in objects]
    boxes = np.array(rows, dtype=np.float64).reshape(len(rows), 7)
    names = tuple(str(each["name"]) for each in objects)
    return PredictedBoxes(boxes, names, np.array([each["score"] for each in objects], dtype=np.float64))


def _from_labels(path: Path, sample: LidarSample) -> PredictedBoxes:
    objects = read_label_file(path)
    if not sample.cameras:
        raise ValueError(f"{path}: expected a frame with calibration and image, which KITTI's boxes refer to")
    boxes = boxes_from_kitti(objects.boxes_camera, sample.cameras[0].camera.lidar_from_camera)
    kept = [row for row, name in enumerate(objects.names) if name != "DontCare"]
    scores = np.ones(len(objects)) if objects.scores is None else objects.scores
    return PredictedBoxes(boxes[kept], tuple(objects.names[row] for row in kept), scores[kept])
