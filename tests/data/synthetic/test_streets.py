"""Generated streets: honest labels, a sweep like that of a real sensor, KITTI's folders."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from geo3d.data import GeneratedStreets, Kitti
from geo3d.data.lidar.kitti import KittiDataset
from geo3d.data.synthetic.streets.generate import StreetFrame, make_street, write_streets
from geo3d.data.synthetic.streets.lidar_sensor import ELEVATIONS, MAX_RANGE, CastScene, Sweep, sweep
from geo3d.data.synthetic.streets.mesh import Surface, assembled, block
from geo3d.ops import box_iou_rotated, points_in_boxes
from geo3d.tools.make_data import main

SEED, FRAMES = 3, 4
LABELLED = {"Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist"}


@pytest.fixture(scope="module")
def frames() -> list[StreetFrame]:
    pytest.importorskip("open3d", reason="Open3D casts the rays")
    return [make_street(SEED, number) for number in range(FRAMES)]


@pytest.fixture(scope="module")
def written(tmp_path_factory, frames) -> Path:
    out = tmp_path_factory.mktemp("streets") / "out"
    write_streets(out, FRAMES, SEED, test_size=1, workers=1)
    return out


def wall(distance: float, surface: Surface, turn: float = 0.0) -> Sweep:
    """A sweep of nothing but a wall ahead, turned away from the sensor by an angle in radians."""
    mesh = assembled([(block((0.1, 8, 8), (0, 0, 0)), surface)]).placed((distance, 0, 0), turn)
    return sweep(CastScene([mesh]), np.random.default_rng(0))


def test_a_frame_depends_on_seed_and_number_alone(frames):
    again = make_street(SEED, 1)
    assert np.array_equal(again.sweep.points, frames[1].sweep.points)
    assert np.array_equal(again.view.picture, frames[1].view.picture)
    assert again.objects.names == frames[1].objects.names
    other = make_street(SEED + 1, 1)
    assert other.sweep.points.shape != frames[1].sweep.points.shape


def test_sweeps_look_like_those_of_64_beams(frames):
    for frame in frames:
        points = frame.sweep.points
        assert points.dtype == np.float32 and 90_000 < len(points) < 140_000
        distance = np.linalg.norm(points[:, :3], axis=1)
        assert distance.min() > 1 and distance.max() < MAX_RANGE + 1
        assert points[:, 3].min() >= 0 and points[:, 3].max() <= 0.99
        assert 0.03 < (points[:, 3] == 0).mean() < 0.35
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        assert (np.histogram(azimuth, 36)[0] > 500).all()  # all around
        elevation = np.degrees(np.arcsin(points[:, 2] / distance))
        assert elevation.min() > ELEVATIONS.min() - 2 and elevation.max() < ELEVATIONS.max() + 6


def test_boxes_hold_exactly_their_own_points(frames):
    for frame in frames:
        owners = torch.from_numpy(frame.sweep.owners)
        points = torch.from_numpy(frame.sweep.points[:, :3].astype(np.float64))
        boxes = torch.from_numpy(frame.scene.boxes.copy())
        boxes[:, 3:6] += 0.25  # noise of the range moves points out of a tight box
        inside = points_in_boxes(points, boxes)
        own = owners < len(boxes)
        assert own.sum() > 500
        # The car's cabin and the ground below a box are inside too, so only the owners' side can be exact.
        assert (inside[own] >= 0).double().mean() > 0.999
        assert (inside[own] == owners[own]).double().mean() > 0.97


def test_nothing_overlaps(frames):
    for frame in frames:
        overlap = box_iou_rotated(*(torch.from_numpy(frame.scene.boxes[:, [0, 1, 3, 4, 6]]),) * 2)
        overlap.fill_diagonal_(0)
        assert overlap.max() == 0


def test_objects_touch_the_ground(frames):
    """The lowest point of an object is near the height of the ground around it."""
    for frame in frames:
        ground = frame.sweep.points[frame.sweep.owners == len(frame.scene.boxes)]
        for box in frame.scene.boxes[np.linalg.norm(frame.scene.boxes[:, :2], axis=1) < 25]:
            near = ground[np.linalg.norm(ground[:, :2] - box[:2], axis=1) < max(box[3:5]) / 2 + 1]
            if len(near) > 20:
                assert abs(np.median(near[:, 2]) - (box[2] - box[5] / 2)) < 0.35


def test_labels_are_of_objects_that_are_seen(frames):
    """At least 3 points, the box of the file is that of the scene, occlusion follows from what hides the object."""
    grades = set()
    for frame in frames:
        names = frame.objects.names
        assert set(names) <= LABELLED | {"DontCare"}
        objects = [number for number, name in enumerate(names) if name != "DontCare"]
        rectangles = frame.objects.rectangles
        assert (rectangles[:, :2] >= 0).all() and (rectangles[:, 2] <= 1242).all() and (rectangles[:, 3] <= 375).all()
        assert (frame.objects.truncation[objects] >= 0).all() and (frame.objects.truncation[objects] <= 0.95).all()
        grades |= set(frame.objects.occlusion[objects].tolist())
        assert (frame.objects.boxes_camera[objects, 2] > 0).all()  # none behind the camera
    assert grades == {0, 1, 2}


def test_hidden_objects_have_few_visible_pixels(frames):
    """What counts as hardly occluded shows most of its rectangle; what is largely occluded less."""
    share: dict[int, list[float]] = {0: [], 2: []}
    for frame in frames:
        view = frame.view.owners
        for name, grade, rectangle in zip(frame.objects.names, frame.objects.occlusion, frame.objects.rectangles, strict=True):
            left, top, right, bottom = (int(value) for value in rectangle)
            if name == "Car" and grade in share and (right - left) * (bottom - top) > 400:
                owners = view[top:bottom, left:right]
                labeled = owners[(owners >= 0) & (owners < len(frame.scene.boxes))]
                counts = np.bincount(labeled, minlength=1)
                share[int(grade)].append(counts.max() / owners.size)
    assert len(share[0]) > 3 and np.mean(share[0]) > 0.55


@pytest.mark.parametrize("distance", [8.0, 30.0])
def test_range_noise_is_of_centimeters(distance):
    points = wall(distance, Surface(0.4, (200, 200, 200))).points
    error = points[:, 0] - (distance - 0.05)
    assert len(points) > 200 and 0.008 < error.std() < 0.04 and abs(error.mean()) < 0.02


def test_points_drop_out_with_range_incidence_and_reflectance():
    bright, dark = Surface(0.4, (200, 200, 200)), Surface(0.02, (10, 10, 10))
    near = len(wall(10, dark).points)
    assert len(wall(10, bright).points) >= near
    assert len(wall(75, dark).points) < 0.75 * len(wall(75, bright).points)
    square, grazing = wall(60, dark), wall(60, dark, np.radians(80))
    per_angle = len(square.points) / 8, len(grazing.points) / (8 * np.cos(np.radians(80)))
    assert per_angle[1] < 0.9 * per_angle[0]


def test_intensity_follows_the_material():
    matt, dark, sign, polished = (
        wall(12, surface).points[:, 3].mean()
        for surface in (
            Surface(0.4, (0, 0, 0)),
            Surface(0.1, (0, 0, 0)),
            Surface(1.5, (0, 0, 0)),
            Surface(0.4, (0, 0, 0), gloss=0.9),
        )
    )
    assert dark < matt < sign
    turned = wall(12, Surface(0.4, (0, 0, 0), gloss=0.9), np.radians(50)).points[:, 3].mean()
    assert turned < 0.6 * polished


def test_rays_pass_windows():
    pane = assembled([(block((0.01, 8, 8), (6, 0, 0)), Surface(0.06, (0, 0, 0), transparency=0.3, loss=0.5))])
    behind = assembled([(block((0.1, 8, 8), (9, 0, 0)), Surface(0.4, (0, 0, 0)))])
    swept = sweep(CastScene([pane, behind]), np.random.default_rng(0))
    whole = sweep(CastScene([behind]), np.random.default_rng(0))
    covered = np.abs(np.arctan2(whole.points[:, 1], whole.points[:, 0])) < np.arctan2(3.9, 9)
    passed = (swept.owners == 1).sum() / covered.sum()
    assert 0.05 < passed < 0.14  # 0.3 at each of the two faces of the pane


def test_files_can_be_read_back(written, frames):
    data = KittiDataset(written, "trainval")
    assert list(data.frames) == [f"{number:06d}" for number in range(FRAMES)]
    for number, frame in enumerate(frames):
        sample = data[number]
        assert np.array_equal(np.asarray(sample.points), frame.sweep.points)
        for box in np.asarray(sample.boxes):
            distance = np.abs(frame.scene.boxes - box)
            distance[:, 6] = np.abs(np.sin((frame.scene.boxes[:, 6] - box[6]) / 2)) * 2
            assert distance.max(1).min() < 0.02  # files have two decimals
    view = KittiDataset(written, "val", camera_view_only=True)
    assert 12_000 < len(view[0].points) < 25_000
    assert len(KittiDataset(written, "train")) == FRAMES - len(view) or len(view) == FRAMES
    assert len(KittiDataset(written, "test")[0].points) > 90_000


def test_files_are_the_same_with_two_processes(written, tmp_path):
    write_streets(tmp_path / "again", FRAMES, SEED, test_size=1, workers=2)

    def digests(folder: Path) -> dict[str, str]:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    assert digests(tmp_path / "again") == digests(written)


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["lidar", "--out", str(tmp_path), "--size", "1"]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert main(["lidar", "--out", str(tmp_path / "new"), "--size", "0"]) == 2
    assert not (tmp_path / "new").exists()


def test_the_data_module_generates_once(tmp_path, monkeypatch):
    asked = []

    def write(out: Path, size: int, seed: int) -> None:
        asked.append((size, seed))
        write_empty_frames(out, size)

    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    module = types.SimpleNamespace(write_streets=write, VERSION=1)
    monkeypatch.setitem(sys.modules, "geo3d.data.synthetic.streets.generate", module)
    for _ in range(2):
        data = Kitti("generated", generate=GeneratedStreets(5, 7), gt_sampling=None, augment=None, camera_view_only=False)
        data.prepare_data()
        assert len(data.frames("train")) == 4 and len(data.frames("val")) == 1
    assert asked == [(5, 7)]
    with pytest.raises(ValueError, match="generate goes with root 'generated'"):
        Kitti(str(tmp_path), generate=GeneratedStreets(5)).prepare_data()


def write_empty_frames(out: Path, size: int) -> None:
    for kind in ("velodyne", "label_2", "calib", "image_2"):
        (out / "training" / kind).mkdir(parents=True)
    (out / "ImageSets").mkdir()
    names = [f"{number:06d}" for number in range(size)]
    (out / "ImageSets" / "train.txt").write_text("\n".join(names[:-1]))
    (out / "ImageSets" / "val.txt").write_text(names[-1])
    for name in names:
        (out / "training" / "velodyne" / f"{name}.bin").write_bytes(b"")
