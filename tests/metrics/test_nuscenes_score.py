"""nuScenes' detection score: figures of the official code on written and on real key frames, rules, and the file of results."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from geo3d.data import NuScenes
from geo3d.data.lidar.nuscenes import NuScenesDataset, NuScenesObjects
from geo3d.data.lidar.nuscenes_tables import CLASS_OF_CATEGORY, NUSCENES_CLASSES
from geo3d.geometry.boxes import transform_boxes
from geo3d.geometry.cameras import invert_rigid
from geo3d.metrics.nuscenes import CLASSES, NuScenesDetectionScore
from geo3d.metrics.nuscenes_results import (
    ATTRIBUTES,
    NuScenesDetections,
    attribute_by_speed,
    nuscenes_detections,
    result_entries,
    write_results,
)
from geo3d.models.detection import Detections
from geo3d.models.dsvt import DSVTCenter
from geo3d.tasks import Detection
from geo3d.tasks.detection_metrics import NuScenesFrames, make_metrics

KINDS = {"vehicle": ATTRIBUTES[6:], "human": ATTRIBUTES[3:6], "movable_object": (), "static_object": ()}
CATEGORIES = (*CLASS_OF_CATEGORY, "static_object.bicycle_rack", "animal")


def attributes_of(category):
    return ATTRIBUTES[1:3] if category.endswith("cycle") else KINDS.get(category.split(".")[0], ())


def write_tables(folder, frames=4, objects=70):
    """A scene of mini_val: objects of all categories that drive about for some frames, some without points, attributes or velocity."""
    generator = np.random.default_rng(11)
    tables = {name: [] for name in ("ego_pose", "sample", "sample_data", "sample_annotation", "log", "visibility")}
    tables["map"] = [{"token": "m", "log_tokens": [], "filename": "", "category": ""}]  # the official code wants one
    tables["attribute"] = [{"token": f"a-{name}", "name": name} for name in ATTRIBUTES[1:]]
    tables["category"] = [{"token": f"c-{name}", "name": name} for name in CATEGORIES]
    tables["sensor"] = [{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"}]
    mount = {"translation": [0.9, 0, 1.8], "rotation": [0.7, 0.01, 0, -0.7], "camera_intrinsic": []}
    tables["calibrated_sensor"] = [{"token": "mount", "sensor_token": "lidar", **mount}]
    tables["scene"] = [{"token": "s", "name": "scene-0103", "first_sample_token": "f-0", "log_token": ""}]
    for frame in range(frames):
        turn, time = 0.2 * frame, 10_000_000 + 500_000 * frame
        place = [600.0 + 4 * frame, 1600.0 + frame, 0]
        rotation = [np.cos(turn), 0, 0, np.sin(turn)]
        tables["ego_pose"].append({"token": f"e-{frame}", "timestamp": time, "translation": place, "rotation": rotation})
        links = {"prev": f"f-{frame - 1}" if frame else "", "next": f"f-{frame + 1}" if frame + 1 < frames else ""}
        tables["sample"].append({"token": f"f-{frame}", "timestamp": time, "scene_token": "s", **links})
        data = {"sample_token": f"f-{frame}", "ego_pose_token": f"e-{frame}", "calibrated_sensor_token": "mount"}
        data |= {"token": f"d-{frame}", "timestamp": time, "is_key_frame": True, "filename": f"{frame}.pcd.bin", "prev": ""}
        tables["sample_data"].append(data)
    tables["instance"] = []
    for number in range(objects):
        category = CATEGORIES[number % len(CATEGORIES)]
        tables["instance"].append({"token": f"i-{number}", "category_token": f"c-{category}"})
        first = int(generator.integers(0, frames))
        start, speed = generator.uniform((565, 1565, 0), (640, 1640, 2)), generator.normal(0, 2, 3) * (1, 1, 0)
        size, turn = generator.uniform((1, 3, 1), (2, 5, 2)), generator.uniform(-1.5, 1.5)
        if category.endswith("rack"):
            size = size * 4
        if category.endswith("rack") or (category.endswith("cycle") and number > 40):  # parked there
            start, speed = np.array([605.0, 1603, 1]), np.zeros(3)
        for frame in range(first, frames):
            likely = attributes_of(category)
            tokens = [f"a-{generator.choice(likely)}"] if likely and generator.random() < 0.8 else []
            links = {"prev": f"b-{number}-{frame - 1}" if frame > first else ""}
            links["next"] = f"b-{number}-{frame + 1}" if frame + 1 < frames else ""
            tables["sample_annotation"].append(
                {
                    "token": f"b-{number}-{frame}",
                    "sample_token": f"f-{frame}",
                    "instance_token": f"i-{number}",
                    "attribute_tokens": tokens,
                    "visibility_token": "",
                    "translation": (start + 0.5 * frame * speed).tolist(),
                    "size": size.tolist(),
                    "rotation": [np.cos(turn), 0, 0, np.sin(turn)],
                    "num_lidar_pts": int(generator.integers(0, 4)),
                    "num_radar_pts": int(generator.integers(0, 2)),
                    **links,
                }
            )
    (folder / "v1.0-mini").mkdir(parents=True)
    for name, records in tables.items():
        (folder / "v1.0-mini" / f"{name}.json").write_text(json.dumps(records))


def noisy_detections(dataset):
    """For each frame: boxes of the classes twice, moved by noise, in the LiDAR's frame, with scores that repeat; some of another class."""
    generator = np.random.default_rng(7)
    for index in range(len(dataset)):
        truth = dataset.objects(index)
        rows = np.flatnonzero(np.isin(truth.names, CLASSES))
        rows = generator.permutation(np.concatenate((rows, rows)))
        noise = generator.normal(0, 1, (len(rows), 9)) * (0.6, 0.6, 0.2, 0.2, 0.2, 0.2, 0.4, 0.5, 0.5)
        boxes = np.nan_to_num(truth.boxes[rows]) + noise
        boxes[:, 3:6] = boxes[:, 3:6].clip(0.1)
        swapped = generator.random(len(rows)) < 0.1
        names = np.where(swapped, generator.choice(NUSCENES_CLASSES, len(rows)), truth.names[rows])
        scores = generator.uniform(0.05, 1, len(rows)).round(2)
        pose = dataset.global_from_lidar(index)
        local = torch.from_numpy(transform_boxes(boxes, invert_rigid(pose)))
        yield index, nuscenes_detections(local, torch.from_numpy(scores), names.tolist(), pose)


def score_of(dataset):
    metric = NuScenesDetectionScore()
    for index, found in noisy_detections(dataset):
        metric.update(index, dataset.objects(index), found)
    return metric


# By `DetectionEval` of nuscenes-devkit 1.2.0 (numpy 1.26) with detection_cvpr_2019, of the tables that are written above and of the
# real key frame with its scene called scene-0103, both as mini_val, and of files that `write_results` made of the detections above.
OFFICIAL_WRITTEN = {
    "NDS": 0.4408739,
    "mAP": 0.3986574,
    "mATE": 0.6647144,
    "mASE": 0.2491659,
    "mAOE": 0.3247302,
    "mAVE": 0.5691551,
    "mAAE": 0.7767819,
    "car_AP": 0.4035734,
    "truck_AP": 0.3631742,
    "bus_AP": 0.4075276,
    "trailer_AP": 0.4236803,
    "construction_vehicle_AP": 0.2310729,
    "pedestrian_AP": 0.4815386,
    "motorcycle_AP": 0.426106,
    "bicycle_AP": 0.5105387,
    "traffic_cone_AP": 0.4680372,
    "barrier_AP": 0.2713246,
}
OFFICIAL_REAL = {
    "NDS": 0.2174411,
    "mAP": 0.2931853,
    "mATE": 0.9284076,
    "mASE": 0.6572091,
    "mAOE": 0.7058985,
    "mAVE": 1.0,
    "mAAE": 1.0,
    "car_AP": 0.5225309,
    "truck_AP": 0.2066872,
    "bus_AP": 0.0,
    "pedestrian_AP": 0.5797014,
    "bicycle_AP": 0.0,
    "traffic_cone_AP": 0.9009259,
    "barrier_AP": 0.7220079,
}


def check(results, expected):
    for name, value in expected.items():
        assert results[name] == pytest.approx(value, abs=1e-6), name


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    write_tables(tmp_path / "data")
    return NuScenesDataset(tmp_path / "data", "val")


def test_equals_the_official_code(dataset):
    check(score_of(dataset).compute(), OFFICIAL_WRITTEN)


def test_equals_the_official_code_on_a_real_key_frame(samples, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    shutil.copytree(samples / "nuscenes/v1.0-mini", tmp_path / "data/v1.0-mini")
    check(score_of(NuScenesDataset(tmp_path / "data")).compute(), OFFICIAL_REAL)


def test_perfect_detections(dataset):
    """Annotations as detections: precision 1 at every recall, and no errors."""
    metric = NuScenesDetectionScore()
    for index in range(len(dataset)):
        truth = dataset.objects(index)
        rows = np.isin(truth.names, CLASSES) & (truth.num_points > 0)
        found = NuScenesDetections(
            truth.boxes[rows], truth.names[rows], truth.attributes[rows], np.linspace(1, 0.5, rows.sum())
        )
        metric.update(index, truth, found)
    results = metric.compute()
    assert results["mAP"] == pytest.approx(1)
    assert [results[name] for name in ("mATE", "mASE", "mAOE", "mAAE")] == pytest.approx([0] * 4, abs=1e-9)


def test_frames_in_any_order_and_twice(dataset):
    """As processes share them out, the last ones doubled to make batches even."""
    frames = list(noisy_detections(dataset))
    metric = NuScenesDetectionScore()
    for index, found in [*frames[2:], *frames[:2], frames[3]]:
        metric.update(index, dataset.objects(index), found)
    once = score_of(dataset)
    assert metric.compute() == once.compute()
    assert metric.results(dataset.frames) == once.results(dataset.frames)


def test_nothing_found_and_nothing_there(dataset):
    none = nuscenes_detections(torch.zeros(0, 9), torch.zeros(0), [], np.eye(4))
    metric = NuScenesDetectionScore()
    metric.update(0, dataset.objects(0), none)
    results = metric.compute()
    assert results["NDS"] == results["mAP"] == 0 and results["mAVE"] == 1
    assert metric.results(dataset.frames) == {"f-0": []}
    empty = NuScenesObjects(np.zeros((0, 9)), np.zeros(0, "U1"), np.zeros(0, "U1"), np.zeros(0, np.int64), np.zeros(3))
    metric = NuScenesDetectionScore()
    metric.update(0, empty, none)
    assert metric.compute()["NDS"] == 0


@pytest.mark.parametrize(
    ("name", "speed", "attribute"),
    [
        ("car", 0.21, "vehicle.moving"),
        ("truck", 0.2, "vehicle.parked"),
        ("bus", 0, "vehicle.stopped"),
        ("bicycle", 3, "cycle.with_rider"),
        ("motorcycle", 0, "cycle.without_rider"),
        ("pedestrian", 0, "pedestrian.standing"),
        ("barrier", 3, ""),
    ],
)
def test_attributes_by_speed(name, speed, attribute):
    assert attribute_by_speed(name, speed) == attribute


def test_entries_and_file_of_results(tmp_path):
    """The LiDAR's x is global y: a car that drives along the LiDAR's x, seen 10 m ahead."""
    pose = np.array([[0, -1, 0, 100], [1, 0, 0, 200], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    boxes = torch.tensor([[10, 1, -1, 5, 2, 1.5, 0, 3, 0], [0, 0, 0, 1, 1, 1, 0, 0, 0]])
    found = nuscenes_detections(boxes, torch.tensor([0.25, 0.75]), ["car", "barrier"], pose)
    cone, car = result_entries("token", found)
    half = 0.5**0.5
    assert car == {
        "sample_token": "token",
        "translation": pytest.approx([99, 210, 1]),
        "size": [2, 5, 1.5],
        "rotation": pytest.approx([half, 0, 0, half]),
        "velocity": pytest.approx([0, 3]),
        "detection_name": "car",
        "detection_score": 0.25,
        "attribute_name": "vehicle.moving",
    }
    assert cone["attribute_name"] == "" and cone["detection_score"] == 0.75
    write_results(tmp_path / "new/results.json", {"token": [car], "other": []})
    written = json.loads((tmp_path / "new/results.json").read_text())
    assert written["results"] == {"token": [car], "other": []}
    assert written["meta"]["use_lidar"] and not written["meta"]["use_camera"]


def test_no_more_boxes_than_allowed_and_none_without_velocity():
    boxes = torch.ones(600, 7)
    found = nuscenes_detections(boxes, torch.linspace(0, 1, 600), ["car"] * 600, np.eye(4))
    assert len(found.scores) == 500 and found.scores[0] == 1 and found.scores[-1] > 0.16
    assert found.boxes.shape == (500, 9) and not found.boxes[:, 7:].any() and set(found.attributes) == {"vehicle.parked"}
    with pytest.raises(ValueError, match=r"must be as many, got \[600, 600, 1\]"):
        nuscenes_detections(boxes, torch.zeros(600), ["car"], np.eye(4))


RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)


class Perfect(Detection):
    """Finds the boxes of the batch as they are labelled."""

    def test_step(self, batch, index):
        found = []
        for frame in range(batch.batch_size):
            mine = batch.box_batch_index == frame
            found.append(Detections(batch.boxes[mine], torch.linspace(0.9, 0.5, int(mine.sum())), batch.labels[mine]))
        for metric in self._metrics():
            metric.update(batch, found)


def small_network():
    stages = [{"blocks": 1, "set_size": 16, "window": (8, 8, 1), "shift": (4, 4, 0)}]
    widths = {"bev_channels": (16, 16), "bev_up_channels": (16, 16), "head_channels": 16}
    bev = {"bev_blocks": (1, 1), "bev_strides": (1, 2), "bev_up_strides": (1, 2)}
    return DSVTCenter(10, 5, RANGE, (1.6, 1.6, 8.0), stages=stages, channels=16, heads=2, **bev, **widths)


def test_task_writes_the_results_that_it_scored(dataset, tmp_path):
    """What is labelled in the LiDAR's frame, found as it is, and moved to the global frame."""
    import lightning

    for index in range(len(dataset)):
        np.zeros((4, 5), np.float32).tofile(dataset.root / f"{index}.pcd.bin")
    module = NuScenes(
        str(dataset.root), point_range=RANGE, num_sweeps=1, batch_size=2, test_batch_size=3, augment=None, gt_sampling=None
    )
    decoder = {"nms_thresholds": [0.2] * 10, "iou_weights": [0.5] * 10}
    results_file = str(tmp_path / "out/results.json")
    task = Perfect(small_network(), metrics=["nuscenes", "recall"], decoder=decoder, results_file=results_file)
    assert task.monitor == "val/NDS"
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    [results] = trainer.test(task, module, verbose=False)
    assert results["test/mATE"] < 1e-3 and results["test/mAOE"] < 0.02  # upright in the frame of a LiDAR that is tilted by 0.03
    assert 0.5 < results["test/NDS"] < 1 and results["test/recall_0.7"] == 1
    written = json.loads((tmp_path / "out/results.json").read_text())["results"]
    assert sorted(written) == sorted(dataset.frames)
    truth = dataset.objects(0)
    centers = [entry["translation"] for entry in written["f-0"]]
    rows = np.isin(truth.names, CLASSES)
    np.testing.assert_allclose(sorted(centers), sorted(truth.boxes[rows, :3].tolist()), atol=1e-3)


def test_what_does_not_fit(tmp_path, dataset):
    with pytest.raises(ValueError, match="results_file is for the metric nuscenes, got recall"):
        Detection(small_network(), results_file="results.json")
    with pytest.raises(ValueError, match="metrics: waymo is for Waymo, got NuScenesDataset"):
        make_metrics(["waymo"], dataset)
    animals = NuScenesDataset(dataset.root, "val", class_names=("car", "animal"))
    with pytest.raises(ValueError, match="metrics: nuscenes evaluates .*; the data has animal"):
        NuScenesFrames(animals)
