"""nuScenes: tables, sweeps joined along the car's motion, velocities, cache, and the real key frame."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from nuscenes_folder import SWEEP, write_tables

from geo3d.data.lidar.nuscenes import NuScenesDataset
from geo3d.data.lidar.nuscenes_schema import FIELDS
from geo3d.data.lidar.nuscenes_tables import MINI_VAL_SCENES, VAL_SCENES, NuScenesTables, annotation_box
from geo3d.geometry.boxes import project_boxes, transform_boxes
from geo3d.ops import count_points_in_boxes, points_in_boxes


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    write_tables(tmp_path / "data")
    return tmp_path / "data"


def test_boxes_are_in_the_frame_of_the_lidar(root):
    sample = NuScenesDataset(root)[1]
    assert sample.names == ["car"] and sample.other_names == ("animal",) and sample.num_points.tolist() == [0]
    # The car is at (100, 200.4), the LiDAR 1 m ahead of that and 2 m up; the object 29.4 m ahead of the LiDAR.
    np.testing.assert_allclose(sample.boxes[0, :6], [0, 230.8 - 201.4, -1, 5, 2, 1.5], atol=1e-4)
    np.testing.assert_allclose(sample.boxes[0, 6:], [np.pi / 2, 0, 8], atol=1e-4)  # it drives ahead, along the LiDAR's y
    np.testing.assert_allclose(sample.other_boxes[0, [0, 1, 7, 8]], [1, 28.6, 0, 0], atol=1e-4)


def test_velocity_of_an_object_seen_once_is_zero(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    write_tables(tmp_path, num_sweeps=1)
    tables = NuScenesTables(tmp_path / "v1.0-mini")
    assert np.isnan(tables.velocity(tables.record("sample_annotation", "box-0-0"))).all()
    assert NuScenesDataset(tmp_path)[0].boxes[0, 7:].tolist() == [0, 0]


def test_sweeps_move_with_the_car(root):
    points = NuScenesDataset(root, num_sweeps=3)[1].points  # sweeps 2 (the key frame), 1 and 0
    assert points.shape == (3 + 2 + 2, 5)
    np.testing.assert_allclose(points[:3], SWEEP[:, [0, 1, 2, 3]].tolist() @ np.eye(4, 5), atol=1e-6)
    np.testing.assert_allclose(points[3:5, 4], 0.05, atol=1e-6)
    np.testing.assert_allclose(points[5:, 4], 0.10, atol=1e-6)
    # Earlier sweeps lie 0.2 m a step further back, along the LiDAR's y; points on the car are gone.
    np.testing.assert_allclose(points[3:5, :4], SWEEP[[0, 2], :4] - [0, 0.2, 0, 0], atol=1e-4)
    np.testing.assert_allclose(points[5:, :4], SWEEP[[0, 2], :4] - [0, 0.4, 0, 0], atol=1e-4)


def test_sweeps_missing_at_the_start_of_a_scene(root):
    assert len(NuScenesDataset(root, num_sweeps=3)[0].points) == 3
    repeated = NuScenesDataset(root, num_sweeps=3, repeat_sweeps=True)
    assert len(repeated[0].points) == 3 + 2 + 2 and not repeated[0].points[:, 4].any()
    ages = NuScenesDataset(root, num_sweeps=5, repeat_sweeps=True)[1].points[:, 4]
    np.testing.assert_allclose(ages, [0, 0, 0, *[0.05] * 2, *[0.1] * 6], atol=1e-6)


def test_camera(root):
    view = NuScenesDataset(root)[0].cameras[0]
    assert view.name == "CAM_FRONT" and view.path == root / "samples/CAM_FRONT/0.jpg"
    pixels, depth = view.camera.project(np.array([[0.0, 20.5, -0.5]]))  # ahead, at the height of the camera
    np.testing.assert_allclose([*pixels[0], *depth], [800, 450, 20], atol=1e-9)


def test_splits(root):
    assert len(VAL_SCENES) == 150 and {"scene-0003", "scene-1073"} < VAL_SCENES and "scene-0001" not in VAL_SCENES
    assert len(MINI_VAL_SCENES) == 2
    assert len(NuScenesDataset(root, "val")) == 3
    with pytest.raises(ValueError, match="v1.0-mini: expected scenes of the split 'train', got none"):
        NuScenesDataset(root, "train")
    write_tables(root, scene="scene-0061")
    assert NuScenesDataset(root, "train").label_sets() == [{0}] * 3


def test_cache(root, monkeypatch):
    first = NuScenesDataset(root, num_sweeps=2)
    with monkeypatch.context() as patch:
        patch.setattr("geo3d.data.lidar.nuscenes.NuScenesTables", None)
        again = NuScenesDataset(root, num_sweeps=2)
    torch.testing.assert_close(first[2].points, again[2].points)
    assert first[2].names == again[2].names
    write_tables(root, num_sweeps=3)
    assert len(NuScenesDataset(root, num_sweeps=2)) == 2


def test_poses_take_boxes_back_to_the_global_frame(root):
    dataset = NuScenesDataset(root)
    back = transform_boxes(dataset[2].boxes, dataset.global_from_lidar(2))
    np.testing.assert_allclose(back[0], [100, 231.6, 1, 5, 2, 1.5, np.pi / 2, 0, 8], atol=1e-4)


def test_errors(root):
    with pytest.raises(FileNotFoundError, match="no folder v1.0-trainval, v1.0-mini or v1.0-test"):
        NuScenesDataset(root / "samples")
    with pytest.raises(FileNotFoundError, match="no folder v1.0-test"):
        NuScenesDataset(root, version="v1.0-test")
    with pytest.raises(ValueError, match="split must be one of .*, got 'test'"):
        NuScenesDataset(root, "test")
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        NuScenesDataset(root, num_sweeps=0)
    dataset = NuScenesDataset(root)
    (root / "sweeps/LIDAR_TOP/1.pcd.bin").write_bytes(SWEEP.tobytes()[:-1])
    with pytest.raises(ValueError, match="1.pcd.bin: expected rows of 5 float32, got 59 bytes"):
        dataset[1]
    (root / "sweeps/LIDAR_TOP/1.pcd.bin").unlink()
    with pytest.raises(FileNotFoundError, match="1.pcd.bin: no such file"):
        dataset[1]


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("sample", "[{", "sample.json: expected a JSON list of records, got"),
        ("sample", '["x"]', "sample.json: expected a JSON list of records with tokens"),
        ("category", "[]", "category.json: expected a record with token category-0, which another table names"),
    ],
)
def test_damaged_tables(root, table, text, message):
    (root / "v1.0-mini" / f"{table}.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        NuScenesDataset(root)


def test_missing_table(root):
    (root / "v1.0-mini/ego_pose.json").unlink()
    with pytest.raises(FileNotFoundError, match="v1.0-mini: no ego_pose.json"):
        NuScenesDataset(root)


def test_real_key_frame(samples, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path))
    dataset = NuScenesDataset(samples / "nuscenes")
    sample = dataset[0]
    assert sample.points.shape == (34_688, 5) and 0 <= sample.points[:, 3].min() and sample.points[:, 3].max() <= 255
    counts = {"pedestrian": 30, "barrier": 22, "car": 8, "traffic_cone": 3, "truck": 2}
    assert Counter(sample.names) == counts | {"bicycle": 1, "bus": 1, "construction_vehicle": 1}

    # Annotations stand upright in the global frame: there the counts are exactly those of the tables.
    tables = NuScenesTables(samples / "nuscenes/v1.0-mini")
    annotations = tables.annotations(next(tables.samples(tables.scenes()[0])))
    boxes = torch.from_numpy(np.stack([annotation_box(annotation)[:7] for annotation in annotations]))
    pose = torch.from_numpy(dataset.global_from_lidar(0))
    points = sample.points[:, :3].double() @ pose[:3, :3].T + pose[:3, 3]
    found = count_points_in_boxes(points, boxes)
    assert found.tolist() == sample.num_points.tolist() and int(found.sum()) == 999

    # The LiDAR is tilted by about 0.02 rad: boxes that stand upright in its frame hold a few points more or less.
    points = sample.points[:, :3].contiguous()
    found = count_points_in_boxes(points, sample.boxes[:, :7].contiguous())
    assert int((found != sample.num_points).sum()) <= 8 and abs(int(found.sum()) - 999) <= 15

    # Every box with a point is seen by a camera, and its points lie in its rectangle there.
    owner = points_in_boxes(points, sample.boxes[:, :7].contiguous())
    seen = torch.zeros(len(sample.boxes), dtype=torch.bool)
    for view in sample.cameras:
        rectangles, visible = project_boxes(sample.boxes.double(), view.camera.image_from_lidar, view.camera.image_size)
        seen |= visible
        pixels, _ = view.camera.project(sample.points.double())
        rows = (view.camera.in_view(sample.points.double()) & (owner >= 0)).nonzero()[:, 0]
        rectangle = rectangles[owner[rows]]
        assert visible[owner[rows]].all() and len(rows)
        assert ((pixels[rows] >= rectangle[:, :2] - 0.01) & (pixels[rows].floor() <= rectangle[:, 2:] + 0.01)).all()
    assert seen[sample.num_points > 0].all()


def change(root, table, **fields):
    """Change fields of the first record of a table; those that are `...` are left out."""
    path = root / "v1.0-mini" / f"{table}.json"
    records = json.loads(path.read_text())
    records[0] = {name: value for name, value in {**records[0], **fields}.items() if value is not ...}
    path.write_text(json.dumps(records))


REQUIRED = [(table, name) for table, fields in FIELDS.items() if table != "attribute" for name in (*fields, "token")]


@pytest.mark.parametrize(("table", "name"), REQUIRED)
@pytest.mark.parametrize("value", [..., None, {"a": [1]}, [1], -1e400], ids=["missing", "null", "object", "list", "infinite"])
def test_fields_that_are_missing_or_wrong(table, name, value, root):
    change(root, table, **{name: value})
    wanted = "expected a JSON list of records with tokens" if name == "token" else name
    with pytest.raises(ValueError, match=f"{table}.json: .*{wanted}"):
        NuScenesDataset(root)


@pytest.mark.parametrize(
    ("table", "fields", "message"),
    [
        ("ego_pose", {"rotation": [0, 0, 0, 0]}, "expected rotation as a quaternion"),
        ("sample_annotation", {"size": [1, 0, 2]}, "expected size as 3 numbers above 0"),
        ("sample_data", {"filename": "../../etc/passwd"}, "expected filename as a path within the data"),
        ("sample_data", {"filename": "/dev/zero"}, "expected filename as a path within the data"),
        ("sample", {"next": "sample-0"}, "sample-0: next leads back to it"),
        ("sample_annotation", {"attribute_tokens": [5]}, "expected attribute_tokens as a list of texts"),
    ],
)
def test_values_that_cannot_be(table, fields, message, root):
    change(root, table, **fields)
    with pytest.raises(ValueError, match=f"{table}.json: .*{message}"):
        NuScenesDataset(root)


def test_circles_and_cameras_without_a_matrix(root):
    path = root / "v1.0-mini" / "sample_data.json"
    before = path.read_text()
    path.write_text(before.replace('"width"', '"other"'))
    with pytest.raises(ValueError, match="sample_data.json: .*lacks width or height"):
        NuScenesDataset(root)
    path.write_text(before)
    path = root / "v1.0-mini" / "calibrated_sensor.json"
    records = json.loads(path.read_text())
    records[1]["camera_intrinsic"] = []
    path.write_text(json.dumps(records))
    with pytest.raises(ValueError, match="calibrated_sensor.json: .*has no camera_intrinsic"):
        NuScenesDataset(root)
    (root / "v1.0-mini" / "scene.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="scene.json: expected a JSON list"):
        NuScenesDataset(root)
