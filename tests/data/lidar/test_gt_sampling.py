"""Ground-truth sampling: the database, what is drawn, what is left out, what it does to the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geo3d.data.lidar.gt_sampling import GroundTruthSampler, GroundTruthSampling, build_database
from geo3d.data.lidar.sweeps import LidarSample
from geo3d.ops import box_iou_rotated, count_points_in_boxes

CLASSES = ("Car", "Pedestrian")


def frame(index: int, boxes: list[tuple[float, ...]], labels: list[int], counts: list[int], columns: int = 7) -> LidarSample:
    """Boxes of 2 x 1 x 1 m at (x, y), turned, each with some points on a line inside, and 50 points on the ground."""
    generator = np.random.default_rng(index)
    table = torch.zeros(len(boxes), columns)
    clouds = [torch.from_numpy(generator.uniform((-40, -40, -1, 0), (40, 40, -0.9, 1), (50, 4))).float()]
    for row, (x, y, yaw) in enumerate(boxes):
        table[row, :7] = torch.tensor([x, y, 0.5, 2, 1, 1, yaw])
        steps = torch.linspace(-0.4, 0.4, counts[row])[:, None]
        cloud = table[row, :3] + steps * torch.tensor([np.cos(yaw), np.sin(yaw), 1.0])
        clouds.append(torch.cat((cloud, torch.full((counts[row], 1), index + 0.25)), 1).float())
    return LidarSample(
        torch.cat(clouds),
        ("intensity",),
        f"frame-{index}",
        Path("f.bin"),
        boxes=table,
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=CLASSES,
        difficulty=torch.tensor([-1 if count == 7 else 0 for count in counts], dtype=torch.int64),
    )


class Frames:
    """12 frames of two cars and a pedestrian, all at places of their own."""

    class_names = CLASSES
    features = ("intensity",)

    def __init__(self, count: int = 12) -> None:
        places = [
            [(4.0 * index - 20, -10, 0.3), (4.0 * index - 20, 0, 1), (4.0 * index - 20, 10, -2)] for index in range(count)
        ]
        self.samples = [frame(index, place, [0, 0, 1], [10 + index, 3, 6]) for index, place in enumerate(places)]
        self.frames = [sample.frame for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> LidarSample:
        return self.samples[index]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return build_database(Frames(), tmp_path_factory.mktemp("gt") / "database")


EMPTY = frame(99, [], [], [])


def test_objects_keep_their_points(database):
    sampler = GroundTruthSampler(database, {"Car": 1})
    assert sampler.features == ("intensity",) and len(sampler.boxes) == 36
    frames = Frames()
    for index in (0, 1, 35):
        sample, row = frames[index // 3], index % 3
        count = int(count_points_in_boxes(sample.points[:, :3], sample.boxes)[row])
        points = torch.from_numpy(sampler.object_points(index))
        assert len(points) == count == sampler.num_points[index]
        assert (points[:, 3] == index // 3 + 0.25).all()
        assert count_points_in_boxes(points[:, :3], sample.boxes[row : row + 1]).item() == count


def test_scenes_get_the_missing_objects(database):
    sampler = GroundTruthSampler(database, {"Car": 4, "Pedestrian": 2})
    scene = frame(50, [(0, 30, 0), (9, 30, 0), (18, 30, 0)], [0, 0, 1], [5, 5, 5])
    filled = sampler(scene, np.random.default_rng(0))
    assert filled.names == ["Car", "Car", "Pedestrian", "Car", "Car", "Pedestrian"]
    assert torch.equal(filled.boxes[:3], scene.boxes) and len(filled.difficulty) == 6 and filled.num_points is None
    new = int(count_points_in_boxes(filled.points[:, :3], filled.boxes[3:]).sum())
    assert (filled.points[:new, 3] < 12).all() and torch.equal(filled.points[new:], scene.points)  # theirs come first
    overlap = box_iou_rotated(filled.boxes, filled.boxes) - torch.eye(6)
    assert overlap.abs().max() < 1e-6
    full = sampler(frame(50, [(i * 3.0, 30, 0) for i in range(6)], [0, 0, 0, 0, 1, 1], [5] * 6), np.random.default_rng(0))
    assert len(full.boxes) == 6  # nothing is missing


def test_objects_with_few_points_or_without_grade_are_not_drawn(database):
    every_second = [index for index in range(36) if index % 3 == 0]  # the others have 3 points
    assert GroundTruthSampler(database, {"Car": 1}).candidates["Car"].tolist() == every_second
    sampler = GroundTruthSampler(database, {"Car": 1, "Pedestrian": 1}, {"Car": 15, "Pedestrian": 7})
    assert sampler.candidates["Car"].tolist() == every_second[5:] and len(sampler.candidates["Pedestrian"]) == 0
    assert "Pedestrian" not in sampler(EMPTY, np.random.default_rng(0)).names


def test_ungraded_objects_are_not_drawn(tmp_path):
    frames = Frames(2)
    frames.samples.append(frame(2, [(0, 0, 0)], [0], [7]))  # its difficulty is -1
    sampler = GroundTruthSampler(build_database(frames, tmp_path / "db"), {"Car": 1})
    assert sampler.num_points[6] == 7 and 6 not in sampler.candidates["Car"]


def test_candidates_that_overlap_are_left_out(database):
    sampler = GroundTruthSampler(database, {"Car": 12})
    assert len(sampler(EMPTY, np.random.default_rng(0)).boxes) == 12
    blocker = frame(50, [(-20, -10, 2), (-16.0, -9.4, 0)], [1, 1], [5, 5])  # on the first car, and on a corner of the second
    assert len(sampler(blocker, np.random.default_rng(0)).boxes) == 2 + 10
    other = LidarSample(EMPTY.points, EMPTY.features, "0", Path("0"), class_names=CLASSES, other_boxes=blocker.boxes)
    assert len(sampler(other, np.random.default_rng(0)).boxes) == 10


def test_candidates_that_overlap_each_other_are_both_left_out(tmp_path):
    frames = Frames(2)
    frames.samples[1] = frame(1, [(-20.5, -10, 0.1), (20, 0, 0)], [0, 0], [9, 9])
    sampler = GroundTruthSampler(build_database(frames, tmp_path / "db"), {"Car": 9})
    boxes = sampler(EMPTY, np.random.default_rng(0)).boxes
    assert boxes[:, 0].tolist() == [20]


def test_points_of_the_scene_inside_pasted_boxes_go(database):
    sampler = GroundTruthSampler(database, {"Car": 12})
    inside = torch.tensor([[-20.0, -10, 0.5, 77]])
    scene = LidarSample(torch.cat((inside, EMPTY.points)), EMPTY.features, "0", Path("0"), class_names=CLASSES)
    pasted = sampler(scene, np.random.default_rng(0))
    assert not (pasted.points[:, 3] == 77).any() and torch.equal(pasted.points[-50:], EMPTY.points)


def test_draws_depend_on_the_generator_alone(database):
    sampler = GroundTruthSampler(database, {"Car": 3, "Pedestrian": 2})
    first = sampler(EMPTY, np.random.default_rng(3))
    sampler(EMPTY, np.random.default_rng(4))
    assert torch.equal(sampler(EMPTY, np.random.default_rng(3)).boxes, first.boxes)
    drawn = {tuple(sampler(EMPTY, np.random.default_rng(seed)).boxes[:3, 0].tolist()) for seed in range(20)}
    assert len(drawn) > 15


def test_database_of_joined_sweeps_gives_the_moment(tmp_path):
    class Joined(Frames):
        features = ("intensity", "time")

        def __init__(self):
            super().__init__()
            for row, sample in enumerate(self.samples):
                age = (torch.arange(len(sample.points)) % 2).float()[:, None] * 0.1
                points = torch.cat((sample.points, age), 1)
                self.samples[row] = LidarSample(
                    points,
                    self.features,
                    sample.frame,
                    sample.source,
                    boxes=sample.boxes,
                    labels=sample.labels,
                    class_names=CLASSES,
                )

    sampler = GroundTruthSampler(build_database(Joined(), tmp_path / "db"), {"Car": 1})
    pasted = sampler(EMPTY, np.random.default_rng(0))
    chosen = int(np.flatnonzero((sampler.boxes == pasted.boxes[0]).all(1))[0])
    assert pasted.points.shape[1] == 4
    assert len(pasted.points) - 50 == (sampler.object_points(chosen)[:, 4] == 0).sum() < sampler.num_points[chosen]


def test_every(tmp_path):
    sampler = GroundTruthSampler(build_database(Frames(), tmp_path / "db", every={"Car": 4}), {"Car": 1, "Pedestrian": 1})
    assert len(sampler.candidates["Car"]) == 3 and len(sampler.candidates["Pedestrian"]) == 12
    with pytest.raises(ValueError, match=r"every must map \['Car', 'Pedestrian'\] to 1 or more, got 'Van': 2"):
        build_database(Frames(), tmp_path / "other", every={"Van": 2})


def test_a_database_is_built_once(database):
    before = (database / "objects.npz").stat().st_mtime_ns
    assert build_database(Frames(1), database) == database and (database / "objects.npz").stat().st_mtime_ns == before


def test_an_interrupted_build_leaves_nothing(tmp_path):
    class Broken(Frames):
        def __getitem__(self, index):
            raise ValueError("f.bin: damaged")

    with pytest.raises(ValueError, match="f.bin: damaged"):
        build_database(Broken(), tmp_path / "db")
    assert list(tmp_path.iterdir()) == []


def test_errors(database, tmp_path):
    with pytest.raises(FileNotFoundError, match="no objects.npz; build_database makes"):
        GroundTruthSampler(tmp_path, {"Car": 1})
    with pytest.raises(ValueError, match="groups must not be negative"):
        GroundTruthSampler(database, {"Car": -1})
    with pytest.raises(ValueError, match=r"groups takes classes of \['Car', 'Pedestrian'\], got 'Van'"):
        GroundTruthSampler(database, {"Van": 1})(EMPTY, np.random.default_rng(0))
    with pytest.raises(ValueError, match="Kitti: every takes classes of .* got 'Van'"):
        GroundTruthSampling({"Car": 1}, every={"Van": 1}).check_classes("Kitti", CLASSES)
    other = LidarSample(torch.zeros(1, 5), ("intensity", "ring"), "0", Path("0"), class_names=CLASSES)
    with pytest.raises(ValueError, match=r"expected points with \['intensity', 'ring'\], got \['intensity'\]"):
        GroundTruthSampler(database, {"Car": 1})(other, np.random.default_rng(0))
    empty = Frames(1)
    empty.samples = [EMPTY]
    with pytest.raises(ValueError, match="expected labelled objects of .*, got none"):
        build_database(empty, tmp_path / "db")


@pytest.mark.parametrize(
    ("file", "message"), [("objects.npz", "expected arrays names, boxes"), ("points.bin", "expected 624 bytes, got 312")]
)
def test_damaged_databases(tmp_path, file, message):
    folder = build_database(Frames(2), tmp_path / "db")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{file}: {message}"):
        GroundTruthSampler(folder, {"Car": 1})
