"""Sweeps of any sensor: brought to the heading, height and level of the training, boxes back, and searched on all sides."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from level_sweeps import street_sweep, turned

import geo3d
from geo3d.data.lidar.sensors import SENSORS
from geo3d.data.lidar.sweeps import CameraView, LidarSample, read_sweep
from geo3d.geometry.boxes import transform_boxes
from geo3d.geometry.cameras import pinhole
from geo3d.models.detection import Detections
from geo3d.ops import box_iou_3d
from geo3d.predict import Mounting, place
from geo3d.predict.all_around import detect_around, faces_one_side
from geo3d.predict.placement import looks_forward, move_boxes_back, move_points, placements

KITTI = SENSORS["kitti"]


def sample(points: np.ndarray, sensor=None) -> LidarSample:
    return LidarSample(torch.from_numpy(points), ("intensity",), "x", Path("x"), sensor=sensor)


def test_a_level_sweep_stays_as_it_is():
    for height, lean in ((1.73, 0), (1.65, 0.8), (1.8, -0.9)):
        placement = place(sample(turned(street_sweep(height), 1.5, lean, 0)), KITTI)
        np.testing.assert_array_equal(placement.network_from_points, np.eye(4))
        assert placement.note == "" and placement.ground is not None and placement.moved == 0
        points = torch.rand(4, 5)
        assert move_points(points, placement.network_from_points) is points


@pytest.mark.parametrize("up", [1.4, -0.8])
@pytest.mark.parametrize("angles", [(0, 0, 0), (0, 2.5, 0), (0, -4, 0), (-6, 0, 0), (5, 5, 90), (0, 3, -90), (0, 0, 180)])
def test_moved_and_leaning_sweeps(angles, up):
    sweep = street_sweep()
    forward = {0: "x", 90: "y", -90: "-y", 180: "-x"}[angles[2]]
    placement = place(sample(turned(sweep, *angles, up=up)), KITTI, Mounting(forward))
    back = move_points(torch.from_numpy(turned(sweep, *angles, up=up)), placement.network_from_points).numpy()
    near = np.hypot(sweep[:, 0], sweep[:, 1]) < 15
    expected = turned(sweep, 0, KITTI.lean, 0) if placement.pitch else sweep
    apart = (back - expected)[near]
    apart[:, :2] -= np.median(apart[:, :2], axis=0)  # nothing tells a lean above the ground from a place beside
    assert np.abs(apart).max() < 0.12
    assert f"moved {-up:+.1f}"[:-1] in placement.note and ("levelled" in placement.note) == any(angles[:2])
    assert bool(placement.pitch) == bool(angles[1])


def pitches(degrees: float, **options) -> list[float]:
    return [each.pitch for each in placements(sample(turned(street_sweep(), 0, degrees, 0)), KITTI, **options)]


def test_a_pitched_sweep_comes_to_the_lean_of_the_trainings_sensor():
    """KITTI's leans forward: what is pitched is not level afterwards, but as KITTI's. On all sides level is level."""
    assert KITTI.lean == -0.7
    for degrees in (0.45, 0, -0.9, -1.15):
        assert pitches(degrees) == [0]
    for degrees in (1.4, 2.5, -2.1, -3):
        assert pitches(degrees) == [pytest.approx(degrees + 0.7, abs=0.05)]
        assert pitches(degrees, all_around=True) == [pytest.approx(degrees, abs=0.05)]


@pytest.mark.parametrize("degrees", [0.7, 1.1, -1.4, -1.8])
def test_a_lean_of_the_street_or_of_the_sensor(degrees):
    """Streets lean by as much under a level sensor, or one that leans as KITTI's does, but not under both."""
    assert pitches(degrees) == [0, pytest.approx(degrees + 0.7, abs=0.05)]


def test_what_the_user_says_holds():
    lifted = sample(street_sweep(3.0))
    assert place(lifted, KITTI).moved == pytest.approx(3.0 - 1.73, abs=0.05)
    assert place(lifted, KITTI, Mounting(height=2.5)).moved == pytest.approx(2.5 - 1.73)
    as_it_is = place(lifted, KITTI, Mounting(level=False))
    assert as_it_is.ground is None and as_it_is.note == ""
    np.testing.assert_array_equal(as_it_is.network_from_points, np.eye(4))
    with pytest.raises(ValueError, match="forward: expected one of x, -x, y, -y, got 'z'"):
        Mounting("z")
    with pytest.raises(ValueError, match="sensor height"):
        Mounting(height=float("nan"))


@pytest.mark.parametrize("name", SENSORS)
def test_what_a_format_says_holds_where_no_ground_is(name):
    sensor = SENSORS[name]
    placement = place(sample(np.zeros((0, 4), np.float32), sensor), KITTI)
    ahead = {"x": [5, 0, 0], "-x": [-5, 0, 0], "y": [0, 5, 0]}[sensor.forward]
    moved = move_points(torch.tensor([ahead], dtype=torch.float64), placement.network_from_points)
    np.testing.assert_allclose(moved, [[5, 0, sensor.height - 1.73]], atol=1e-12)
    assert placement.ground is None and "no ground found" in placement.note and f"{sensor.height:.2f} m" in placement.note


def test_a_format_that_the_training_had_is_not_turned():
    placement = place(sample(np.zeros((0, 4), np.float32), SENSORS["nuscenes"]), SENSORS["nuscenes"])
    np.testing.assert_allclose(placement.network_from_points, np.eye(4), atol=1e-12)


def test_sensors_of_files(tmp_path):
    rows = np.column_stack([street_sweep(), np.zeros((len(street_sweep()), 2), np.float32)]).astype("<f4")
    for name, width, sensor in (
        ("000000.bin", 4, "kitti"),
        ("0000000.bin", 6, "waymo"),
        ("a.pcd.bin", 5, "nuscenes"),
        ("host-a017_lidar1_1.bin", 5, "lyft"),
    ):
        rows[:, :width].tofile(tmp_path / name)
        assert read_sweep(tmp_path / name).sensor == SENSORS[sensor]
    assert read_sweep(tmp_path / "000000.bin", columns="x,y,z,intensity").sensor is None
    np.save(tmp_path / "a.npy", rows[:, :4])
    assert read_sweep(tmp_path / "a.npy").sensor is None


def test_boxes_come_back():
    generator = np.random.default_rng(0)
    boxes = torch.from_numpy(generator.uniform(-3, 3, (20, 9)))
    boxes[:, 3:6] = boxes[:, 3:6].abs() + 1
    there = np.eye(4)
    there[:3] = [[0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 1, -1.4]]
    moved = transform_boxes(boxes, there)
    returned = move_boxes_back(moved, there)
    torch.testing.assert_close(returned[:, :6], boxes[:, :6])
    torch.testing.assert_close(returned[:, 6].sin(), boxes[:, 6].sin())
    torch.testing.assert_close(returned[:, 7:], boxes[:, 7:])


def test_cameras_that_look_forward():
    ahead = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    camera = pinhole(np.diag([700.0, 700, 1]), ahead, (1200, 360))
    assert looks_forward(camera, "x") and not any(looks_forward(camera, axis) for axis in ("-x", "y", "-y"))


@pytest.fixture(scope="module")
def detector():
    return geo3d.load("dsvt-streets-detector")


def test_a_view_cuts_by_the_camera_that_looks_forward(detector):
    ahead = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    back = np.array([[0.0, 1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[700.0, 0, 600], [0, 700, 180], [0, 0, 1]])
    views = [CameraView(name, Path("x"), pinhole(intrinsics, pose, (1200, 360))) for name, pose in (("b", back), ("f", ahead))]
    points = torch.tensor([[9.0, 0, 0, 0], [-9, 0, 0, 0], [1, 9, 0, 0]])
    sweep = LidarSample(points, ("intensity",), "x", Path("x"), cameras=tuple(views))
    assert detector.network_points(sweep).tolist() == [[9, 0, 0, 0]]
    assert len(detector.network_points(dataclasses.replace(sweep, cameras=(views[0],)))) == 3
    assert len(detector.network_points(sweep, cut_view=False)) == 3


def test_which_ranges_face_one_side():
    assert faces_one_side([0, -34.56, -3, 53.76, 34.56, 1]) and faces_one_side([-5, -40, -3, 70, 40, 1])
    assert not faces_one_side([-74.88, -74.88, -2, 74.88, 74.88, 4])


def finder(points: torch.Tensor) -> Detections:
    """A network that looks ahead: a box of a class at each point within its range, the score falling with the distance."""
    ahead = points[(points[:, 0] > 0) & (points[:, 1].abs() < 34)]
    noise = torch.tensor([0.3, -0.2, 0, 0, 0, 0, 0.1]) * torch.rand(len(ahead), 1)
    boxes = torch.cat([ahead[:, :3], torch.tensor([[4.0, 1.8, 1.5, 0.5]]).expand(len(ahead), -1)], 1) + noise
    return Detections(boxes, 1 / (1 + ahead[:, :3].norm(dim=1)), ahead[:, 3].long())


def test_all_sides_and_no_doubles():
    """Objects every few degrees, on the seams too, in two classes: each is found once, where it is."""
    torch.manual_seed(0)
    azimuth = torch.deg2rad(torch.arange(0, 360, 15.0) + 0.01)
    for radius in (5.0, 15.0, 30.0):
        wide = azimuth if radius > 10 else azimuth[::6]
        circle = torch.stack([radius * wide.cos(), radius * wide.sin(), 0 * wide, torch.arange(len(wide)) % 2], 1)
        found = detect_around(circle, [0, -34.56, -3, 53.76, 34.56, 1], finder)
        assert len(found) == len(circle)
        distance = torch.cdist(found.boxes[:, :2], circle[:, :2])
        assert distance.min(0).values.max() < 0.5 and sorted(distance.argmin(1).tolist()) == list(range(len(circle)))
        assert (found.labels.diff() >= 0).all()
        for label in (0, 1):
            assert (found.scores[found.labels == label].diff() <= 0).all()


@pytest.fixture(scope="module")
def street():
    pytest.importorskip("open3d", reason="Open3D casts the rays")
    from geo3d.data.synthetic.streets.generate import make_street

    return make_street(1234, 1)


@pytest.fixture(scope="module")
def before(street, detector):
    return detector(street.sweep.points)


def cars(found) -> torch.Tensor:
    chosen = (found.detections.labels == 0) & (found.detections.scores > 0.7)
    return found.detections.boxes[chosen].double()


MOVES = {"lifted": ((0, 0, 0), 1.4), "left": ((0, 0, 90), 0), "nose_up": ((0, -2, 0), 0), "all": ((0, 3, -90), 1.4)}


@pytest.mark.parametrize("name", MOVES)
def test_the_same_cars_from_any_mounting(name, street, detector, before):
    """Cars clear of the threshold: what was sure before is found again, at its place."""
    angles, up = MOVES[name]
    np.testing.assert_array_equal(before.placement.network_from_points, np.eye(4))
    moved = detector(turned(street.sweep.points, *angles, up=up), Mounting({0: None, 90: "y", -90: "-y"}[angles[2]]))
    pose = np.eye(4)
    pose[:3, :3] = turned(np.column_stack([np.eye(3), np.zeros(3)]).astype(np.float32), *angles)[:, :3].T
    pose[2, 3] = up
    assert len(cars(before)) >= 3
    every = moved.detections.boxes[moved.detections.labels == 0].double()
    assert (box_iou_3d(cars(before), move_boxes_back(every, pose)).max(1).values > 0.5).all()


def test_all_around_finds_what_is_behind(street, detector, before):
    ahead, around = before, detector(street.sweep.points, all_around=True)
    assert (ahead.detections.boxes[:, 0] > -1).all() and (around.detections.boxes[:, 0] < -5).any()
    centers = around.detections.boxes[around.detections.labels == 0][:, :2]
    gaps = torch.cdist(centers, centers) + 99 * torch.eye(len(centers))
    assert len(centers) > len(cars(ahead)) and gaps.min() > 1.5
