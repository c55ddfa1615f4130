"""Generated shapes in the cache folder: made once, complete or not at all."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from geo3d.data import GeneratedShapes, ModelNet40
from geo3d.data.generated import resolve_root


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A generator of two tiny shapes in place of the real one; the list of what it was asked for."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    asked = []

    def write_shapes(out: Path, size: int, seed: int, num_points: int = 2048, workers: int = 2, version: int = 1) -> None:
        asked.append((size, seed, num_points))
        folder = out / "modelnet40_normal_resampled"
        (folder / "cup").mkdir(parents=True)
        for split in ("train", "test"):
            (folder / f"modelnet40_{split}.txt").write_text(f"cup_{split}\n")
            np.savetxt(folder / "cup" / f"cup_{split}.txt", np.random.default_rng(seed).random((num_points, 6)), delimiter=",")
        (folder / "modelnet40_shape_names.txt").write_text("cup\n")
        if size == 0:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "geo3d.data.synthetic.shapes.generate", types.SimpleNamespace(write_shapes=write_shapes))
    return asked


def test_made_on_first_use_and_once(calls, tmp_path):
    wanted = GeneratedShapes(size=2, seed=5, num_points=40)
    for _ in range(2):
        data = ModelNet40(root="generated", generate=wanted, num_points=16, batch_size=1)
        data.prepare_data()
        assert data.class_names == ["cup"] and len(data.dataset("train")) == 1
    assert calls == [(2, 5, 40)]
    (folder,) = (tmp_path / "cache" / "generated").iterdir()
    assert not folder.name.startswith(".")


def test_other_settings_are_other_folders(calls):
    first = resolve_root("test", "generated", GeneratedShapes(2, 0, 40), GeneratedShapes())
    second = resolve_root("test", "generated", GeneratedShapes(2, 1, 40), GeneratedShapes())
    resolve_root("test", "generated", None, GeneratedShapes())
    assert first != second and first.is_dir() and second.is_dir()
    assert calls == [(2, 0, 40), (2, 1, 40), (2000, 0, 2048)]


def test_an_interrupted_run_leaves_nothing(calls, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        resolve_root("test", "generated", GeneratedShapes(0), GeneratedShapes())
    assert list((tmp_path / "cache" / "generated").iterdir()) == []
