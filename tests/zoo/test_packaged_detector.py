"""The packaged detector on sweeps that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from level_sweeps import turned

import geo3d
from geo3d.data.lidar.argoverse import Argoverse2Dataset
from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.ops import box_iou_3d
from geo3d.predict import Mounting
from geo3d.predict.placement import move_boxes_back

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


MOUNTINGS = {
    "lifted": ((0, 0, 0), 1.4, None),
    "looking_along_y": ((0, 0, 90), 0.0, "y"),
    "nose_down": ((0, 2, 0), 0.0, None),
    "nose_up": ((0, -2, 0), 0.0, None),
}


@pytest.mark.parametrize("name", MOUNTINGS)
def test_real_cars_are_found_from_other_mountings(name, detector, samples):
    """The labelled cars of KITTI 000008 between 3 and 30 m, from the points alone: those of the sweep as it is, where they are."""
    folder = samples / "kitti" / "training"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    angles, up, forward = MOUNTINGS[name]
    sample = read_kitti_frame(folder, "000008")
    points = sample.points.numpy()
    boxes = np.asarray(sample.boxes)[np.asarray(sample.labels) == 0]
    near = boxes[np.linalg.norm(boxes[:, :2], axis=1) < 30]
    moved = detector(turned(points, *angles, up=up), Mounting(forward))
    pose = np.eye(4)
    pose[:3, :3] = turned(np.eye(4, dtype=np.float32)[:3], *angles)[:, :3].T
    pose[2, 3] = up
    expected = overlaps(detector(points), near)
    cars = moved.detections.boxes[moved.detections.labels == 0].double()
    got = box_iou_3d(move_boxes_back(cars, pose), torch.from_numpy(near.astype(np.float64))).max(0).values
    assert len(near) == 5 and (expected > 0.5).all() and (got > 0.5).all()


@pytest.mark.parametrize("pitch", [2, -2])
def test_the_same_cars_in_pitched_frames(pitch, detector, samples):
    """Whatever is taken for a car in KITTI's frames as they are is one in the same place when the sensor is pitched, true or not."""
    folder = samples / "kitti" / "training"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    files = [*sorted((folder / "velodyne").glob("*.bin")), folder / "velodyne_reduced" / "000008.bin"]
    pose = np.eye(4)
    pose[:3, :3] = turned(np.eye(4, dtype=np.float32)[:3], 0, pitch, 0)[:, :3].T
    count = 0
    for file in files:
        points = np.fromfile(file, "<f4").reshape(-1, 4)
        before, after = detector(points), detector(turned(points, 0, pitch, 0))
        assert before.placement.note == "" and "levelled by pitch" in after.placement.note
        cars, found = (each.detections.boxes[each.detections.labels == 0].double() for each in (before, after))
        assert len(found) == len(cars)
        if len(cars):
            assert (box_iou_3d(cars, move_boxes_back(found, pose)).max(1).values > 0.5).all()
        count += len(cars)
    assert count >= 12


def test_argoverse2_as_it_is(detector, samples):
    """Its origin is on the ground: cars ahead, and on all sides with four passes, none where there is none."""
    folder = samples / "argoverse2" / "sensor" / "val"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    pytest.importorskip("pyarrow", reason="reads .feather")
    for sample in (Argoverse2Dataset(folder)[index] for index in range(2)):
        places = sample.boxes[torch.tensor([name == "REGULAR_VEHICLE" for name in sample.names])][:, :2]
        for all_around, least in ((False, 4), (True, 10)):
            found = detector(sample, all_around=all_around)
            cars = found.detections.boxes[found.detections.labels == 0][:, :2]
            distance = torch.cdist(cars, places).min(1)
            assert len(cars) >= least and (distance.values < 1.5).all()
            assert len(set(distance.indices.tolist())) == len(cars)  # none twice, across seams neither
            assert found.placement.ground is not None and found.placement.moved == pytest.approx(0.33 - 1.73)


def test_nothing_is_found_where_nothing_is(detector):
    assert len(detector(np.zeros((0, 4), np.float32))) == 0


def test_a_folder_of_that_name_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path)
    assert geo3d.load(NAME).info.task == "detection"
