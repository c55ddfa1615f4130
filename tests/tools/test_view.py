"""`geo3d view`: what it opens, the files it writes, and one line with exit code 2 for what it cannot open."""

from __future__ import annotations

import json
import os
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
