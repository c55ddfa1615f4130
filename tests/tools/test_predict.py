"""`geo3d predict` on files: results, and one line with exit code 2 for bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo3d import load
from geo3d.data.files.geometry import read_geometry, write_ply
from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape
from geo3d.tools import cli, predict
from geo3d.tools.viewing import Options, open_paths
from geo3d.viz import builders
from geo3d.viz.builders import shapes

CLASSIFIER, PARTS = "risurconv-shapes-classifier", "risurconv-shapes-parts"


@pytest.fixture(scope="module")
def chair(tmp_path_factory):
    rng = np.random.default_rng(5)
    points, _ = sample_shape(make_shape("chair", rng), 3000, rng)
    path = tmp_path_factory.mktemp("shapes") / "chair.ply"
    write_ply(path, points[:, :3], normals=points[:, 3:])
    return path


def test_classes(chair, tmp_path, capsys):
    code = predict.main([CLASSIFIER, str(chair), "--json", f"{tmp_path}/r.json", "--save", f"{tmp_path}/r.png"])
    assert code == 0
    assert "chair.ply  chair " in capsys.readouterr().out
    [result] = json.loads((tmp_path / "r.json").read_text())
    assert result["classes"][0]["name"] == "chair" and len(result["classes"]) == 3
    assert (tmp_path / "r.png").stat().st_size > 5000


def test_same_answer_twice(chair):
    predictor = load(CLASSIFIER)
    np.testing.assert_array_equal(predictor(chair).probabilities, predictor(chair).probabilities)


def test_clouds_without_normals_are_mostly_recognised():
    predictor, categories = load(CLASSIFIER), ("airplane", "bottle", "car", "guitar", "mug", "table")
    right = 0
    for number, category in enumerate(categories):
        rng = np.random.default_rng([78, number])
        points, _ = sample_shape(make_shape(category, rng), 2048, rng)
        right += predictor(points[:, :3]).top(1)[0][0] == category
    assert right >= len(categories) - 1


def test_parts(chair, tmp_path, capsys):
    assert predict.main([PARTS, str(chair), "--out", str(tmp_path), "--save", f"{tmp_path}/r.png"]) == 0
    out = capsys.readouterr().out
    assert "classified as chair" in out and "seat" in out
    labeled = read_geometry(tmp_path / "chair_parts.ply")
    assert len(labeled.points) == 3000 and labeled.colors is not None
    assert predict.main([PARTS, str(chair), "--out", str(tmp_path)]) == 2  # nothing is overwritten
    assert predict.main([PARTS, str(chair), "--out", str(tmp_path), "--overwrite", "--category", "chair"]) == 0


BAD_FILES = {
    "missing.ply": (None, "no such file"),
    "empty.txt": (b"", "empty"),
    "one.xyz": (b"0 0 0\n", "at least 32 distinct points, got 1"),
    "text.ply": (b"this is a text, and not a mesh\n" * 20, "text.ply"),
    "short.bin": (b"\0" * 17, "short.bin"),
    "notes.docx": (b"x", "docx"),
    "nan.npy": (np.full((100, 3), np.nan, np.float32), "finite"),
    "same.npy": (np.ones((100, 3), np.float32), "distinct points, got 1"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("model", [CLASSIFIER, PARTS])
def test_bad_files(name, model, tmp_path, capsys):
    content, message = BAD_FILES[name]
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_bytes(content)
    assert predict.main([model, str(path), "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err and name in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no weights nothing"),
        ([CLASSIFIER, "--device", "cuda:9"], "no CUDA device"),
        ([PARTS, "--category", "spoon"], "category must be one of"),
    ],
)
def test_bad_arguments(arguments, message, chair, tmp_path, capsys):
    code = predict.main([arguments[0], str(chair), *arguments[1:], "--out", str(tmp_path)])
    assert code == 2 and message in capsys.readouterr().err


def test_checkpoint_of_another_model(chair, tmp_path, capsys):
    import torch

    path = tmp_path / "other.pth"
    torch.save({"state_dict": {"x": torch.zeros(1)}}, path)
    assert predict.main([str(path), str(chair)]) == 2
    assert "other.pth: expected a .safetensors file" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        predict.main([CLASSIFIER, str(tmp_path / "missing.ply"), "--debug"])


def test_existing_picture_is_kept(chair, tmp_path, capsys):
    picture = tmp_path / "mine.png"
    picture.write_bytes(b"mine")
    assert predict.main([CLASSIFIER, str(chair), "--save", str(picture)]) == 2
    assert picture.read_bytes() == b"mine"


def test_cli(capsys):
    assert cli.main(["--version"]) == 0
    assert cli.main(["sing"]) == 2
    assert "no tool 'sing'; there are predict" in capsys.readouterr().err
    assert cli.main(["predict", "--list"]) == 0
    assert CLASSIFIER in capsys.readouterr().out.split()


@pytest.mark.parametrize(
    "kind", ["modelnet40_normal_resampled/*/*.txt", "modelnet10/*/train/*.off", "generic/*/*.p*", "body_scan/*/*"]
)
def test_real_files_run(kind, samples, capsys):
    files = sorted(str(path) for path in samples.glob(kind))
    assert files
    assert predict.main([CLASSIFIER, *files]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(files)


@pytest.mark.parametrize(("name", "up"), [("a.ply", "y"), ("a.pcd", "z"), ("camera.pcd", "-y")])
@pytest.mark.parametrize("model", ["risurconv-shapes-classifier", "risurconv-shapes-parts"])
def test_pictures_stand_as_in_view(model, name, up, tmp_path, monkeypatch):
    """The same guess of the axis that points up as `geo3d view`."""
    rows, columns = (100, 110) if name == "camera.pcd" else (1, 600)  # organised clouds are of depth cameras
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (rows * columns, 3))
    path = tmp_path / name
    if name.endswith(".ply"):
        write_ply(path, points)
    else:
        points = points + [0, 0, 2] if name == "camera.pcd" else points
        head = f"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {columns}\nHEIGHT {rows}\n"
        head += f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA binary\n"
        path.write_bytes(head.encode() + points.astype("<f4").tobytes())
    drawn = []
    for module in (builders, shapes):
        monkeypatch.setattr(module, "scene_sheet", lambda scenes, picture, **_: drawn.extend(scene.up for scene in scenes))
    options = ["--out", str(tmp_path / "out"), "--save", str(tmp_path / "a.png")]
    options += ["--category", "chair"] if model.endswith("parts") else []
    assert predict.main([model, str(path), *options]) == 0
    assert drawn == [up] == [open_paths([path], Options())[0].scene.up]
