"""Boxes that `geo3d predict` wrote (`geo3d.data.lidar.box_files`), or KITTI label files with scores, found again by the frame they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geo3d.data.lidar.box_files import SweepBoxes, read_box_file, sweep_name
from geo3d.data.lidar.kitti_labels import read_label_file
from geo3d.data.lidar.sweeps import LidarSample
from geo3d.geometry.boxes import boxes_from_kitti

SUFFIX = "_boxes"  # of the files that `geo3d predict` names after a sweep
MIN_SCORE = 0.3  # of boxes that are shown, where it is not known what was looked for


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
    results: dict[str, SweepBoxes]
    files: tuple[Path, ...]
    label_files: dict[str, Path]

    def of(self, sample: LidarSample) -> SweepBoxes | None:
        """The boxes of a frame; None where the predictions do not name it.

        Raises:
            ValueError: a label file that is damaged, or whose frame has no camera to tell where its boxes are.
        """
        name = sweep_name(sample.source)
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
    results: dict[str, SweepBoxes] = {}
    files: list[Path] = []
    for table in tables:
        for file, boxes in read_box_file(table):
            results[sweep_name(file)] = boxes
            files.append(file)
    return Predictions(path, results, tuple(files), labels)


def _from_labels(path: Path, sample: LidarSample) -> SweepBoxes:
    objects = read_label_file(path)
    if not sample.cameras:
        raise ValueError(f"{path}: expected a frame with calibration and image, which KITTI's boxes refer to")
    boxes = boxes_from_kitti(objects.boxes_camera, sample.cameras[0].camera.lidar_from_camera)
    kept = [row for row, name in enumerate(objects.names) if name != "DontCare"]
    scores = np.ones(len(objects)) if objects.scores is None else objects.scores
    return SweepBoxes(boxes[kept], tuple(objects.names[row] for row in kept), scores[kept])
