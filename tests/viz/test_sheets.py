"""Pictures of results: sheets of classified clouds, parts, confusion matrices."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from small_scenes import ball, draws

from geo3d import viz


@draws
def test_classification_sheet(tmp_path):
    clouds = [ball(500), np.hstack([ball(500), ball(500)]), ball(500) * (1, 2, 1)]
    path = viz.classification_sheet(clouds, ["ball 0.98", "ball 0.75", "egg 0.51"], tmp_path / "a.png", tile=120)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (240, 240, 3)
    filled = (picture < 200).any(axis=-1)
    assert all(
        filled[rows, columns].sum() > 500
        for rows, columns in ((np.s_[:120], np.s_[:120]), (np.s_[:120], np.s_[120:]), (np.s_[120:], np.s_[:120]))
    )
    assert not filled[120:, 120:].any()
    with pytest.raises(ValueError, match="got 3 and 1"):
        viz.classification_sheet(clouds, ["ball"], tmp_path / "b.png")


@draws
def test_parts_picture_lists_the_parts_that_occur(tmp_path):
    labels = np.where(ball()[:, 0] > 0, 2, 0)
    path = viz.parts_picture(ball(), labels, ["leg", "seat", "back"], tmp_path / "a.png", size=(400, 300), title="chair")
    picture = np.asarray(Image.open(path))
    assert picture.shape == (300, 400, 3)
    counts = [(picture[:, 250:] == color).all(axis=-1).sum() for color in viz.PALETTE[:3]]
    assert counts[0] >= 100 and counts[1] == 0 and counts[2] >= 100
    with pytest.raises(ValueError, match="labels must be below 2, the number of names, got 2"):
        viz.parts_picture(ball(), labels, ["leg", "seat"], tmp_path / "b.png")


def test_confusion_matrix(tmp_path):
    path = viz.confusion_matrix(np.diag([5, 3, 9]), ["chair", "table", "lamp"], tmp_path / "a.png", title="three")
    assert min(Image.open(path).size) > 300 and np.asarray(Image.open(path)).std() > 20
    viz.confusion_matrix(torch.eye(40, dtype=torch.int64), [f"class {i}" for i in range(40)], tmp_path / "b.pdf")
    for matrix, message in (
        (np.zeros((3, 2)), r"matrix must be \[C, C\] for C = 3 class_names, got \[3, 2\]"),
        (np.full((3, 3), -1), "not negative"),
    ):
        with pytest.raises(ValueError, match=message):
            viz.confusion_matrix(matrix, ["a", "b", "c"], tmp_path / "c.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_confusion_matrix_cuts_nothing_off(tmp_path):
    names = [f"a rather long class name {i}" for i in range(18)]
    path = viz.confusion_matrix(np.eye(18, dtype=np.int64) * 3, names, tmp_path / "matrix.png")
    pixels = np.asarray(Image.open(path).convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 255).all()
