"""Tiny frames in KITTI's folders for the tests of detectors: boxes of points on a flat ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from geo3d.data.lidar.kitti_labels import objects_from_boxes, write_label_file
from geo3d.geometry.cameras import kitti_camera

P2 = np.array([[700, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]], dtype=np.float64)
FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
IMAGE = (1200, 360)
RANGE = [0.0, -10.24, -3.0, 20.48, 10.24, 1.0]  # 32 x 32 pillars of 0.64 m
GROUND = -1.7
SIZES = {"Car": (4.0, 1.8, 1.5), "Pedestrian": (0.8, 0.7, 1.7), "Cyclist": (1.8, 0.7, 1.7)}
CAMERA = kitti_camera(P2, np.eye(3), FORWARD, IMAGE)


def frame(seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """points [N, 4] float32, boxes [3, 7] and their names: a car, a pedestrian and a cyclist in sight."""
    generator = np.random.default_rng(seed)
    places = [(8, 0), (13, 5), (13, -5)]
    names = list(SIZES)
    boxes = [
        [x + generator.uniform(-1, 1), y + generator.uniform(-1, 1), GROUND + SIZES[name][2] / 2, *SIZES[name], angle]
        for name, (x, y), angle in zip(names, places, generator.uniform(-3, 3, 3), strict=True)
    ]
    clouds = [_ground(generator), *(_surface(np.array(box), generator) for box in boxes)]
    points = np.concatenate(clouds)
    return np.column_stack([points, generator.uniform(0, 1, len(points))]).astype(np.float32), np.array(boxes), names


def write_frames(root: Path, count: int = 4, images: bool = True) -> Path:
    """A KITTI folder whose frames are for training and validation both; a last frame has neither points nor objects."""
    for name in ("velodyne", "label_2", "calib", "image_2"):
        (root / "training" / name).mkdir(parents=True)
    calibration = "\n".join(f"{key}: {' '.join(map(str, np.ravel(matrix)))}" for key, matrix in _calibration().items())
    for number in range(count + 1):
        name = f"{number:06d}"
        points, boxes, names = frame(number)
        if number == count:
            points, boxes, names = np.array([[-50, 0, 0, 0]], np.float32), boxes[:0], []  # behind the car
        points.astype("<f4").tofile(root / "training/velodyne" / f"{name}.bin")
        (root / "training/calib" / f"{name}.txt").write_text(calibration)
        unknown = np.zeros(len(names))
        objects = objects_from_boxes(boxes, names, CAMERA, truncation=unknown, occlusion=unknown)
        write_label_file(root / "training/label_2" / f"{name}.txt", objects)
        if images:
            Image.new("RGB", IMAGE).save(root / "training/image_2" / f"{name}.png")
    (root / "ImageSets").mkdir()
    for split in ("train", "val"):
        (root / "ImageSets" / f"{split}.txt").write_text("".join(f"{number:06d}\n" for number in range(count + 1)))
    return root


def _calibration() -> dict[str, np.ndarray]:
    return {"P2": P2, "R0_rect": np.eye(3), "Tr_velo_to_cam": FORWARD}


def _ground(generator: np.random.Generator) -> np.ndarray:
    xy = generator.uniform((1, -10), (20, 10), (400, 2))
    return np.column_stack([xy, np.full(len(xy), GROUND)])


def _surface(box: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """200 points [200, 3] on the faces of a box [7]."""
    local = generator.uniform(-0.5, 0.5, (200, 3))
    face = generator.integers(0, 3, 200)
    local[np.arange(200), face] = np.sign(local[np.arange(200), face]) / 2
    local = local * box[3:6] * 0.98
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return local @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + box[:3]
