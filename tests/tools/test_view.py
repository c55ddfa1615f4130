"""`geo3d view`: what it opens, the files it writes, and one line with exit code 2 for what it cannot open."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from street_frames import write_frames

from geo3d.data.files.binvox import write_binvox
from geo3d.data.files.geometry import write_ply
from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.predict.images import upright_rgb
from geo3d.tools import cli, view
from geo3d.tools.viewing import Options, open_paths
from geo3d.tools.viewing.naming import distinct_names
from geo3d.tools.viewing.predictions import read_predictions
from geo3d.tools.viewing.samples import Scenes
from geo3d.tools.viewing.sweeps import sweep_sample
from geo3d.viz.frames import as_image
from geo3d.viz.layers import Picture, parts_of

SMALL = ["--size", "320", "240"]


@pytest.fixture
def clouds(tmp_path) -> Path:
    """A folder with a sweep, a cloud, voxels and an image."""
    folder = tmp_path / "mixed"
    (folder / "deeper").mkdir(parents=True)
    points = np.random.default_rng(0).uniform(-1, 1, (200, 4)).astype("<f4")
    points.tofile(folder / "deeper" / "sweep.bin")
    write_ply(folder / "cloud.ply", points[:, :3])
    write_binvox(folder / "grid.binvox", np.ones((2, 2, 2), bool))
    Image.new("RGB", (20, 10)).save(folder / "texture.png")
    return folder


def test_lists_and_steps_through_a_folder(clouds, capsys):
    assert cli.main(["view", str(clouds), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["cloud.ply", "sweep.bin", "grid.binvox"]  # images beside clouds are left out
    samples = open_paths([clouds], Options())
    turned = samples.from_index(2)
    assert turned.names == ("grid.binvox", "cloud.ply", "sweep.bin") and turned[0].scene.title == "grid.binvox"
    assert [scene.title for scene in Scenes(samples)] == ["cloud.ply", "sweep.bin", "grid.binvox"]
    assert Scenes(samples)[-1].title == "grid.binvox" and len(Scenes(samples)[:2]) == 2


@pytest.mark.parametrize("suffix", [".png", ".html", ".glb", ".ply"])
def test_saves(clouds, suffix, tmp_path, capsys):
    path = tmp_path / f"out{suffix}"
    assert view.main([str(clouds / "cloud.ply"), "--save", str(path), *SMALL]) == 0
    assert path.stat().st_size > 500 and f"cloud.ply: {path}" in capsys.readouterr().out
    assert view.main([str(clouds / "cloud.ply"), "--save", str(path), *SMALL]) == 2
    assert "exists; choose another name, or --overwrite" in capsys.readouterr().err


def test_pages_hold_all_samples_unless_one_is_named(clouds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert view.main([str(clouds), "--html"]) == 0
    assert (tmp_path / "mixed.html").read_text().count('class="frame"') == 3
    assert view.main([str(clouds), "--html", "--index", "1", "--overwrite"]) == 0
    assert (tmp_path / "mixed.html").read_text().count('class="frame"') == 1


@pytest.mark.parametrize("display", [":4711", "unix:4711.0", "localhost:4711"])
def test_a_display_that_does_not_answer(display, clouds, monkeypatch, capsys):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert view.main([str(clouds)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: no display to open a window on (no X server answers at DISPLAY {display})")
    assert error.count("\n") == 1


def test_without_a_display(clouds, monkeypatch, capsys):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert view.main([str(clouds)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no display") and "--save" in error and "--html" in error and error.count("\n") == 1


def test_the_live_view_without_viser(clouds, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert view.main([str(clouds / "cloud.ply"), "--web"]) == 2
    assert capsys.readouterr().err == "error: the live view needs viser: pip install 'geo3d[viewer]'\n"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("ModuleNotFoundError(\"No module named 'open3d'\")", "error: drawing needs open3d: pip install open3d ("),
        (
            "OSError('libgomp.so.1: cannot open shared object file')",
            "error: open3d cannot be imported: libgomp.so is missing; apt",
        ),
    ],
)
def test_pictures_without_open3d(problem, message, clouds, tmp_path):
    (tmp_path / "open3d.py").write_text(f"raise {problem}")
    command = [sys.executable, "-m", "geo3d.tools.view", str(clouds / "cloud.ply"), "--save", str(tmp_path / "a.png")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


def test_a_window_gets_the_samples(clouds, monkeypatch, capsys):
    """The keys of the window step through what `show_scenes` is given."""
    shown = []
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr("geo3d.viz.desktop.show_scenes", lambda scenes, **looks: shown.append((scenes, looks)))
    assert view.main([str(clouds), "--index", "1", "--view", "top"]) == 0
    [(scenes, looks)] = shown
    assert len(scenes) == 3 and scenes[0].title == "sweep.bin" and scenes[2].title == "cloud.ply" and looks["view"] == "top"
    assert "3 " in capsys.readouterr().out


BAD = {
    "none.ply": (None, "no such file or folder"),
    "notes.docx": (b"x", "unknown kind '.docx'"),
    "empty.bin": (b"", "empty"),
    "short.bin": (b"\0" * 17, "rows of 4 float32"),
    "text.binvox": (b"text", "starts with #binvox"),
    "no.png": (b"text", "expected a picture"),
    "no.json": (b"{", "expected JSON"),
    "other.json": (b'{"a": 1}', "without 'file' and 'objects'"),
    "half.json": (b'{"file": "a", "objects": [{"name": "Car"}]}', "expected objects with name, score, center"),
    "lost.json": (b'[{"file": "gone.bin", "objects": []}]', "no gone.bin, whose boxes it holds"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path, capsys):
    content, message = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert view.main([str(tmp_path / name), "--save", str(tmp_path / "out.png")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "3", "--save", "a.png"], "--index 3: expected 0..2"),
        (["--save", "a.docx"], "ends in"),
        (["--view", "side", "--save", "a.png"], "view must be"),
        (["--up", "w", "--save", "a.png"], "up must be"),
        (["--predictions", "none", "--save", "a.png"], "none: no such file or folder"),
    ],
)
def test_bad_arguments(arguments, message, clouds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert view.main([str(clouds), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_folder(tmp_path, capsys):
    assert view.main([str(tmp_path), "--save", f"{tmp_path}/a.png"]) == 2
    assert "nothing to look at in it" in capsys.readouterr().err


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
    from geo3d.viz.layers import Picture, parts_of

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


def test_names_are_distinct(tmp_path, capsys):
    points = np.random.default_rng(0).uniform(-1, 1, (100, 4)).astype("<f4")
    paths = [tmp_path / folder / "velodyne" / "000000.bin" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir(parents=True)
        points.tofile(path)
    for arguments in ([str(tmp_path)], [*map(str, paths)], [str(tmp_path / "a"), str(tmp_path / "b")], [str(paths[0])] * 2):
        assert view.main([*arguments, "--list"]) == 0
        names = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
        assert len(names) == 2 == len(set(names)) and all("000000.bin" in name for name in names)
    assert distinct_names([Path("a/v/0"), Path("b/v/0"), Path("c")]) == ("a/v/0", "b/v/0", "c")


def test_a_folder_whose_first_file_cannot_be_read(clouds, tmp_path, capsys):
    (clouds / "aaa.ply").write_bytes(b"ply, they said")
    assert view.main([str(clouds), "--save", str(tmp_path / "a.png"), *SMALL]) == 0
    said = capsys.readouterr()
    assert "aaa.ply: not shown: " in said.err and "cloud.ply" in said.out
    assert view.main([str(clouds), "--save", str(tmp_path / "a.html"), *SMALL]) == 0  # all others are on the page
    assert "aaa.ply: not shown: " in capsys.readouterr().err and (tmp_path / "a.html").stat().st_size > 10_000
    for arguments in ([str(clouds), "--index", "0"], [str(clouds / "aaa.ply")]):  # what was asked for is an error
        assert view.main([*arguments, "--save", str(tmp_path / "b.png"), *SMALL]) == 2
    for path in clouds.rglob("*.*"):
        path.write_bytes(b"nothing")
    assert view.main([str(clouds), "--save", str(tmp_path / "b.png"), *SMALL]) == 2


def test_a_frame_with_an_absent_image(tmp_path, capsys):
    root = write_frames(tmp_path / "kitti", count=1) / "training"
    image = root / "image_2" / "000000.png"
    sample = read_kitti_frame(root, "000000")
    shown = sweep_sample(sample, Options(), "x")
    image.unlink()
    rest = sweep_sample(sample, Options(), "x")
    assert "image_2: not shown: " in capsys.readouterr().err
    assert "points" in rest.scene.layers and len(rest.scene.layers) == len(shown.scene.layers) - 1


def test_absent_nuscenes_images(samples, tmp_path, capsys):
    if not (samples / "nuscenes").is_dir():
        pytest.skip(f"no {samples / 'nuscenes'}")
    root = shutil.copytree(samples / "nuscenes", tmp_path / "nuscenes", ignore=shutil.ignore_patterns("*.npz"))
    next((root / "samples" / "CAM_BACK").glob("*.jpg")).unlink()
    assert view.main([str(root), "--save", str(tmp_path / "a.png"), *SMALL]) == 0
    assert "CAM_BACK: not shown: " in capsys.readouterr().err


def test_absent_keypoints_are_not_drawn(tmp_path):
    Image.new("RGB", (500, 500), (128, 128, 128)).save(tmp_path / "hand.png")
    rows = np.column_stack([np.full(21, 300.0), np.linspace(250, 350, 21), np.full(21, 2)])
    rows[5:] = 0
    annotation = {"image_id": 1, "keypoints": rows.reshape(-1).tolist()}
    content = {"images": [{"id": 1, "file_name": "hand.png"}], "annotations": [annotation]}
    (tmp_path / "hands.json").write_text(json.dumps(content))
    [picture] = parts_of(list(open_paths([tmp_path], Options())[0].scene.layers.values()), Picture)
    drawn = (np.abs(picture.pixels.astype(int) - 128) > 30).any(-1)
    assert drawn[240:360, 280:320].any() and not drawn[:200].any() and not drawn[:, :250].any()


def test_a_transparent_image_has_one_background(tmp_path):
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[:, :30] = (200, 10, 10, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    [picture] = parts_of(list(open_paths([tmp_path / "a.png"], Options())[0].scene.layers.values()), Picture)
    for shown in (picture.pixels, as_image(pixels), upright_rgb(tmp_path / "a.png"), upright_rgb(pixels)):
        assert (shown[:, 30:] == 255).all() and (shown[:, :30] == (200, 10, 10)).all()


def test_labels_keep_their_colors(tmp_path):
    points = np.random.default_rng(0).uniform(-9, 9, (60, 4)).astype("<f4")
    colors = []
    for labels in ([40, 10], [40, 10, 30], [10, 252, 7]):
        folder = tmp_path / str(len(colors))
        (folder / "velodyne").mkdir(parents=True)
        (folder / "labels").mkdir()
        points.tofile(folder / "velodyne" / "000000.bin")
        np.resize(np.array(labels, "<u4"), 60).tofile(folder / "labels" / "000000.label")
        colors.append(open_paths([folder / "velodyne" / "000000.bin"], Options())[0].scene.legend)
    assert len({legend["label 10"] for legend in colors}) == 1 and colors[0]["label 40"] == colors[1]["label 40"]
