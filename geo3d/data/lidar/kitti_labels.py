"""KITTI's label files: one object a line, in the frame of the rectified left camera.

Car 0.00 0 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62 [score]
name, truncation, occlusion, alpha, rectangle (left top right bottom), height width length, x y z of the bottom, rotation_y
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.geometry.boxes import boxes_to_kitti, project_boxes, wrap_angle
from geo3d.geometry.cameras import Camera

# Smallest height of the rectangle in pixels, largest occlusion and largest truncation of easy, moderate and hard.
DIFFICULTIES = ((40, 0, 0.15), (25, 1, 0.3), (25, 2, 0.5))


@dataclass(frozen=True, eq=False)
class KittiObjects:
    """Lines of a label file, K of them; K may be 0.

    Attributes:
        names: class of each object; DontCare marks regions of the image, whose boxes mean nothing.
        truncation: [K] float64, 0..1, share of the object outside the image; -1 unknown.
        occlusion: [K] int64, 0 visible, 1 partly, 2 largely occluded, 3 unknown; -1 for DontCare and predictions.
        alpha: [K] float64 observation angle, radians.
        rectangles: [K, 4] float64 left, top, right, bottom, pixels.
        boxes_camera: [K, 7] float64 x y z length height width rotation_y; see `geo3d.geometry.boxes.boxes_from_kitti`.
        scores: [K] float64, of predictions, or None.
    """

    names: tuple[str, ...]
    truncation: np.ndarray
    occlusion: np.ndarray
    alpha: np.ndarray
    rectangles: np.ndarray
    boxes_camera: np.ndarray
    scores: np.ndarray | None = None

    @classmethod
    def empty(cls) -> KittiObjects:
        """No objects."""
        zero = np.zeros(0)
        return cls((), zero, np.zeros(0, np.int64), zero, np.zeros((0, 4)), np.zeros((0, 7)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def difficulty(self) -> np.ndarray:
        """[K] int64, 0 easy, 1 moderate, 2 hard, as the benchmark grades objects, and -1 for none of them."""
        height = self.rectangles[:, 3] - self.rectangles[:, 1]
        grade = np.full(len(self), -1, np.int64)
        for level, (smallest, occlusion, truncation) in reversed(list(enumerate(DIFFICULTIES))):
            known = (self.occlusion >= 0) & (self.truncation >= 0)
            fits = (height >= smallest) & (self.occlusion <= occlusion) & (self.truncation <= truncation)
            grade[known & fits] = level
        return grade


def read_label_file(path: str | Path) -> KittiObjects:
    """Objects of a label file, or predictions with scores; an empty file holds none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line with other than 15 columns (16 with scores), or a word where a number should be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_bytes().decode("latin-1")
    if "\0" in text:
        raise ValueError(f"{path}: expected lines of text, got binary data")
    lines = [line.split() for line in text.splitlines()]
    rows: list[list[float]] = []
    names: list[str] = []
    for number, words in enumerate(lines, start=1):
        if not words:
            continue
        width = 1 + len(rows[0]) if rows else len(words)
        if len(words) != width or width not in (15, 16):
            wanted = width if rows else "15, or 16 with scores,"
            raise ValueError(f"{path}: expected {wanted} columns, got {len(words)} in line {number}")
        try:
            rows.append([float(word) for word in words[1:]])
        except ValueError as error:
            raise ValueError(f"{path}: expected numbers after the class name, got {error} in line {number}") from None
        names.append(words[0])
    if not rows:
        return KittiObjects.empty()
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise ValueError(
            f"{path}: expected finite numbers, got one that is not for object {np.argwhere(~np.isfinite(table))[0][0]}"
        )
    boxes = table[:, [10, 11, 12, 9, 7, 8, 13]]
    scores = table[:, 14] if table.shape[1] == 15 else None
    return KittiObjects(tuple(names), table[:, 0], table[:, 1].astype(np.int64), table[:, 2], table[:, 3:7], boxes, scores)


def objects_from_boxes(
    boxes: Any,
    names: Sequence[str],
    camera: Camera,
    scores: Any = None,
    *,
    truncation: Any = None,
    occlusion: Any = None,
) -> KittiObjects:
    """Label lines of LiDAR boxes; boxes that the image does not show are left out, as KITTI neither labels nor evaluates them.

    Args:
        boxes: [K, 7 or more] array or tensor in the LiDAR frame.
        names: K class names.
        camera: the frame's camera, with the size of its image.
        scores: [K], of predictions.
        truncation, occlusion: [K], of labels; -1 by default, as the benchmark asks of predictions.

    Raises:
        ValueError: lengths that differ, or a camera without image size.
    """
    table = np.asarray(boxes, dtype=np.float64)
    columns = {"names": names, "scores": scores, "truncation": truncation, "occlusion": occlusion}
    for name, values in columns.items():
        if values is not None and len(values) != len(table):
            raise ValueError(f"objects_from_boxes: {name} must be as many as the {len(table)} boxes, got {len(values)}")
    if camera.image_size is None:
        raise ValueError("objects_from_boxes: camera has no image_size")
    rectangles, visible = project_boxes(table, camera.image_from_lidar, camera.image_size)
    in_camera = boxes_to_kitti(table, camera.camera_from_lidar)[visible]
    alpha = wrap_angle(in_camera[:, 6] - np.arctan2(in_camera[:, 0], in_camera[:, 2]))
    unknown = np.full(len(table), -1)
    return KittiObjects(
        names=tuple(name for name, seen in zip(names, visible, strict=True) if seen),
        truncation=np.asarray(unknown if truncation is None else truncation, dtype=np.float64)[visible],
        occlusion=np.asarray(unknown if occlusion is None else occlusion, dtype=np.int64)[visible],
        alpha=alpha,
        rectangles=rectangles[visible],
        boxes_camera=in_camera,
        scores=None if scores is None else np.asarray(scores, dtype=np.float64)[visible],
    )


def write_label_file(path: str | Path, objects: KittiObjects) -> Path:
    """Writes a label file, with a column of scores if the objects have them; the folder must exist.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a class name with a space in it.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}")
    lines = []
    for row, name in enumerate(objects.names):
        if not name or len(name.split()) != 1:
            raise ValueError(f"write_label_file: class names must be single words, got {name!r}")
        x, y, z, length, height, width, turn = objects.boxes_camera[row]
        numbers = [objects.alpha[row], *objects.rectangles[row], height, width, length, x, y, z, turn]
        words = [name, f"{objects.truncation[row]:.2f}", str(int(objects.occlusion[row])), *(f"{n:.4f}" for n in numbers)]
        if objects.scores is not None:
            words.append(f"{objects.scores[row]:.6f}")
        lines.append(" ".join(words) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
