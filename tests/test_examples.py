"""The examples run as their docstrings say, each in a process of its own, and print what they promise."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from street_frames import frame

from geo3d.data.files.geometry import write_ply
from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))
PRINTED = {  # what each prints, among other lines
    "01_own_cloud_to_class": ["chair "],
    "02_own_sweep_to_boxes": [" Car, ", " m, yaw "],
    "03_op_in_your_network": ["centres [2, 64, 3], features [2, 64, 32], a gradient in "],
    "04_train_on_your_data": ["weights: ", "'ball'", "'box'"],
    "05_scene_as_page": ["scene.html"],
}


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints, started in an empty folder."""
    [path] = [path for path in EXAMPLES if path.stem == name]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_says_what_one_learns(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 100
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert f"python examples/{path.name}" in docstring and "Learn here:" in docstring


def test_numbers_run_from_one():
    assert [path.stem for path in EXAMPLES] == list(PRINTED)
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.parametrize("name", PRINTED)
def test_runs(name, tmp_path):
    printed = run(name, tmp_path)
    for words in PRINTED[name]:
        assert words in printed
    if name == "05_scene_as_page":
        assert "<html" in (tmp_path / "scene.html").read_text(encoding="utf-8")[:1000]


def test_class_of_a_file(tmp_path):
    random = np.random.default_rng(3)
    points, _ = sample_shape(make_shape("airplane", random), 4096, random)
    path = write_ply(tmp_path / "mine.ply", points[:, :3], normals=points[:, 3:])
    assert run("01_own_cloud_to_class", tmp_path, str(path)).startswith("airplane")


def test_boxes_of_a_file(tmp_path):
    path = tmp_path / "000000.bin"
    frame(0)[0].astype("<f4").tofile(path)
    counts = run("02_own_sweep_to_boxes", tmp_path, str(path)).splitlines()[0]
    assert [word.split()[1] for word in counts.split(", ")] == ["Car", "Pedestrian", "Cyclist"]
