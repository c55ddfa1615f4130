"""The packaged detector on sweeps that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import geo3d
from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.ops import box_iou_3d

NAME = "dsvt-streets-detector"


@pytest.fixture(scope="module")
def detector():
    return geo3d.load(NAME)


def overlaps(found, boxes: np.ndarray) -> torch.Tensor:
    """[K] the best IoU of each true car with a car that was found."""
    cars = found.detections.boxes[found.detections.labels == 0].double()
    assert len(cars)
    return box_iou_3d(cars, torch.from_numpy(boxes.astype(np.float64))).max(0).values


def test_generated_cars_are_found(detector):
    pytest.importorskip("open3d", reason="Open3D casts the rays")
    from geo3d.data.synthetic.streets.generate import make_street

    best = []
    for number in range(3):
        frame = make_street(1234, number)
        points = np.bincount(frame.sweep.owners, minlength=len(frame.scene.boxes))[: len(frame.scene.boxes)]
        boxes = frame.scene.boxes
        ahead = (boxes[:, 0] > 5) & (np.abs(boxes[:, 1]) < 0.7 * boxes[:, 0]) & (boxes[:, 0] < 30)
        chosen = boxes[ahead & (points > 100) & (np.array(frame.scene.names) == "Car")]
        if len(chosen):
            best.append(overlaps(detector(frame.sweep.points), chosen))
    best = torch.cat(best)
    assert len(best) >= 5
    assert (best > 0.5).double().mean() >= 0.8


def test_real_cars_are_found(detector, samples):
    """KITTI 000008, of which no network has seen anything: the cars between 7 and 30 m."""
    folder = samples / "kitti" / "training"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    sample = read_kitti_frame(folder, "000008", camera_view_only=True)
    boxes = np.asarray(sample.boxes)[np.asarray(sample.labels) == 0]
    distance = np.linalg.norm(boxes[:, :2], axis=1)
    best = overlaps(detector(sample), boxes[(distance > 7) & (distance < 30)])
    assert len(best) == 4 and (best > 0.5).all()


def test_nothing_is_found_where_nothing_is(detector):
    assert len(detector(np.zeros((0, 4), np.float32))) == 0


def test_a_folder_of_that_name_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path)
    assert geo3d.load(NAME).info.task == "detection"
