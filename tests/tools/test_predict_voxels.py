"""`geo3d predict` with a network of reconstruction: what it writes and says; the weights are untrained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from PIL import Image
from small_views import write_views

from geo3d.data.files.binvox import read_binvox
from geo3d.tools.predict import main


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_views(tmp_path_factory.mktemp("weights") / "views.safetensors")


def draw(path, size=(90, 120)):
    """A picture of a block on a plain background."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((*size, 3), 220, np.uint8)
    picture[30:60, 40:70] = (180, 60, 20)
    Image.fromarray(picture).save(path)
    return path


def run(weights, *argv):
    return main([str(weights), *map(str, argv)])


def test_pictures_give_voxels_a_mesh_and_a_sheet(weights, tmp_path, capsys):
    pictures = [draw(tmp_path / "mug_1.png"), draw(tmp_path / "mug_2.jpg", (200, 150))]
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    options = ["--out", out, "--threshold", "0.2", "--save", sheet, "--json", tmp_path / "found.json"]
    assert run(weights, pictures[0], *options, pictures[1]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "mug_1: 2 views" in said and "2 pictures cut out of a plain background" in said
    grid = read_binvox(out / "mug_1_voxels.binvox")
    assert grid.voxels.shape == (8, 8, 8) and grid.translate.tolist() == [-0.5] * 3 and grid.scale == 1
    mesh = trimesh.load(out / "mug_1_mesh.ply", process=False)
    assert mesh.is_watertight and np.abs(mesh.vertices).max() < 0.5 + 0.5 / 8
    [result] = json.loads((tmp_path / "found.json").read_text())
    assert result["full_voxels"] == grid.voxels.sum() and result["views"] == 2 and result["threshold"] == 0.2
    assert Image.open(sheet).width > 1000
    assert run(weights, *pictures, *options) == 2  # nothing is replaced
    assert "exists" in capsys.readouterr().err
    assert run(weights, *pictures, *options, "--overwrite") == 0


def test_a_folder_of_objects_gives_files_for_each(weights, tmp_path, capsys):
    for name in ("objects/chair/0.png", "objects/chair/1.png", "objects/mug/0.png"):
        draw(tmp_path / name)
    assert run(weights, tmp_path / "objects", "--out", tmp_path / "out", "--mesh", "glb", "--save", tmp_path / "s.png") == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"{name}_{kind}" for name in ("chair", "mug") for kind in ("voxels.binvox", "mesh.glb")}
    assert {"s_chair.png", "s_mug.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "chair: 2 views" in capsys.readouterr().out


def test_a_mask(weights, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    draw(tmp_path / "masks" / "a.jpg", (50, 60))
    for mask in (tmp_path / "masks", tmp_path / "masks" / "a.jpg"):
        assert run(weights, tmp_path / "a.png", "--mask", mask, "--out", tmp_path / "out", "--overwrite") == 0
        assert "cut out by mask" in capsys.readouterr().out


def test_no_full_voxel_writes_no_mesh(weights, tmp_path, capsys):
    assert run(weights, draw(tmp_path / "a.png"), "--threshold", "1", "--out", tmp_path, "--save", tmp_path / "s.png") == 0
    assert "no voxel is full" in capsys.readouterr().out
    assert not (tmp_path / "a_mesh.ply").exists() and (tmp_path / "s.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "2"], "--threshold must be within 0 and 1"),
        (["--max-views", "0"], "--max-views must be 1 or more"),
        (["--framed", "--mask", "a.png"], "--framed and --mask exclude each other"),
        (["--mask", "nothing.png"], "nothing.png: no such file"),
        (["--mesh", "obj"], "--mesh"),
        (["--category", "chair"], "--category is no option of"),
        (["missing.png"], "missing.png: no such file"),
    ],
)
def test_bad_options(options, message, weights, tmp_path, capsys):
    assert run(weights, draw(tmp_path / "a.png"), *options, "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize("kind", ["transparent", "truncated", "text", "empty folder", "binvox"])
def test_what_shows_nothing_is_one_line(kind, weights, tmp_path, capsys):
    path = tmp_path / "a.png"
    if kind == "transparent":
        Image.fromarray(np.zeros((20, 20, 4), np.uint8)).save(path)
    elif kind == "truncated":
        draw(path).write_bytes(path.read_bytes()[:80])
    elif kind == "text":
        path.write_text("a picture")
    elif kind == "empty folder":
        path = tmp_path / "empty"
        path.mkdir()
    else:
        path = tmp_path / "a.binvox"
        path.write_bytes(b"#binvox 1\n")
    assert run(weights, path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and path.name in error[0]
