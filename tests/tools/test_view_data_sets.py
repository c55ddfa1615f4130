"""The viewing tool on folders of real data sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.tools import view
from geo3d.tools.viewing import Options, open_paths
from geo3d.tools.viewing.predictions import read_predictions
from geo3d.tools.viewing.samples import Scenes
from geo3d.viz.layers import Picture, parts_of

SMALL = ["--size", "320", "240"]


@pytest.fixture
def kitti(samples, tmp_path) -> Path:
    """A KITTI folder with one small frame."""
    source, folder = samples / "kitti" / "training", tmp_path / "kitti" / "training"
    for name in ("velodyne_reduced", "image_2", "calib", "label_2"):
        (folder / name).mkdir(parents=True)
        for path in (source / name).glob("000008.*"):
            shutil.copy(path, folder / name)
    return folder.parent


def test_predictions_lie_over_kitti(kitti, tmp_path):
    """As `geo3d predict` writes them: a file for each sweep, and a list of all; and as label files."""
    sample = read_kitti_frame(kitti / "training", "000008")
    boxes = sample.boxes.double().numpy()
    scores = np.linspace(0.2, 0.9, len(boxes))
    objects = [
        {"name": name, "score": score, "center": box[:3], "size": box[3:6], "yaw": box[6]}
        for name, score, box in zip(sample.names, scores.tolist(), boxes.tolist(), strict=True)
    ]
    entry = {"file": str(kitti / "training" / "velodyne_reduced" / "000008.bin"), "counts": {}, "objects": objects}
    for name, content in (("000008_boxes.json", entry), ("all.json", [entry])):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        predictions = read_predictions(path)
        np.testing.assert_allclose(predictions.of(sample).boxes, boxes)
        for opened in ([kitti], [path]):
            scene = open_paths(opened, Options(predictions=predictions, min_score=0.5))[0].scene
            assert len(scene.layers["predicted boxes"].parts[0].segments) == 14 * (scores >= 0.5).sum()
            assert list(scene.legend) == ["predicted", "true"]
    labels = read_predictions(kitti / "training" / "label_2").of(sample)
    assert set(labels.names) == {"Car"} and (labels.scores == 1).all()
    np.testing.assert_allclose(labels.boxes, boxes, atol=1e-5)


def test_kitti_picture(kitti, tmp_path):
    path = tmp_path / "street.png"
    assert view.main([str(kitti), "--save", str(path), "--size", "640", "360"]) == 0
    assert Image.open(path).size == (640, 360)


FAMILIES = {
    "kitti": 6,
    "nuscenes": 1,
    "argoverse2": 2,
    "semantickitti": 2,
    "semantickitti_clip": 1,
    "waymo_kitti_format": 1,
    "modelnet10": 5,
    "modelnet40_normal_resampled": 8,
    "shapenet_r2n2": 4,
    "shapenet_r2n2/ShapeNetRendering/03001627/chair_a": 1,
    "freihand": 4,
    "interhand2.6m": 2,
    "rhd": 2,
    "onehand10k": 1,
    "handmesh_real": 10,
    "hands_in_the_wild": 7,
    "body_scan": 3,
    "generic": 12,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_sample_families_open(family, samples):
    if family == "argoverse2":
        pytest.importorskip("pyarrow", reason="reads Argoverse 2")
    if family == "generic":
        pytest.importorskip("laspy", reason="reads .las")
    opened = open_paths([samples / family], Options())
    assert len(opened) == FAMILIES[family]
    sample = opened[0]
    sample.scene.check_content()
    assert sample.scene.title and sample.view in sample.views


def test_labeled_points(samples):
    scene = open_paths([samples / "semantickitti_clip"], Options())[0].scene
    assert list(scene.legend) == [f"label {number}" for number in (0, 50, 52, 70, 71, 80)]


def test_freihand_as_published(samples, tmp_path):
    """training_K, _xyz and _verts beside the images; a later version of an image has the row of the first."""
    (tmp_path / "training" / "rgb").mkdir(parents=True)
    for name in ("00000000.jpg", "00000003.jpg"):
        shutil.copy(samples / "freihand/training/rgb/00017620.jpg", tmp_path / "training" / "rgb" / name)
    generator = np.random.default_rng(0)
    matrix = [[480.0, 0, 112], [0, 480, 112], [0, 0, 1]]
    joints = (generator.normal(size=(3, 21, 3)) * 0.05 + (0, 0, 0.7)).tolist()
    for name, rows in (("K", [matrix] * 3), ("xyz", joints), ("verts", joints)):
        (tmp_path / f"training_{name}.json").write_text(json.dumps(rows))
    opened = open_paths([tmp_path], Options())
    assert opened.names == ("00000000", "00000003")
    assert set(opened[1].scene.layers) == {"skeleton", "image_1", "vertices"}
    np.testing.assert_allclose(opened[1].scene.layers["skeleton"].parts[1].positions, joints[0])


def test_unrelated_shapes_are_stepped_through_at_one_size(samples):
    """Their coordinates stay in what is saved; hands stay where they are in their images."""
    from geo3d.viz.compose import image_with_overlay

    opened = open_paths([samples / "interhand2.6m"], Options())
    plain, moved = opened[0].scene, Scenes(opened)[0]
    reach = np.linalg.norm(moved.layers["skeleton"].parts[1].positions, axis=1).max()
    assert abs(reach - 1) < 1e-9 and np.linalg.norm(plain.layers["skeleton"].parts[1].positions, axis=1).min() > 1.0
    drawn = [
        image_with_overlay(scene, parts_of(list(scene.layers.values()), Picture)[0], (167, 256)) for scene in (plain, moved)
    ]
    assert np.abs(drawn[0].astype(int) - drawn[1]).max() <= 2  # float32 of the ray caster
    assert (drawn[0] != np.asarray(Image.open(samples / "interhand2.6m/image69148.jpg").resize((167, 256)))).any()
    drive = open_paths([samples / "argoverse2"], Options())
    assert drive.steady and not opened.steady


def test_absent_nuscenes_images(samples, tmp_path, capsys):
    if not (samples / "nuscenes").is_dir():
        pytest.skip(f"no {samples / 'nuscenes'}")
    root = shutil.copytree(samples / "nuscenes", tmp_path / "nuscenes", ignore=shutil.ignore_patterns("*.npz"))
    next((root / "samples" / "CAM_BACK").glob("*.jpg")).unlink()
    assert view.main([str(root), "--save", str(tmp_path / "a.png"), *SMALL]) == 0
    assert "CAM_BACK: not shown: " in capsys.readouterr().err
