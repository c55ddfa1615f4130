"""Colours: the palette keeps its colours apart, scales are monotone, wrong input is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.viz import PALETTE, by_height, by_label, by_value
from geo3d.viz.colors import UNLABELED, as_colors

# Linear RGB of normal vision as seen without the red and without the green cones (Machado, Oliveira, Fernandes 2009, severity 1).
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


def lab(colors: np.ndarray, vision: list | None = None) -> np.ndarray:
    """CIELAB of sRGB uint8 [N, 3]."""
    srgb = colors / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(np.eye(3) if vision is None else vision).T, 0, 1)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = linear @ to_xyz.T / (0.95047, 1, 1.08883)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def smallest_difference(values: np.ndarray) -> float:
    distance = np.linalg.norm(values[:, None] - values[None], axis=-1)
    return distance[np.triu_indices(len(values), 1)].min()


def test_palette_is_distinguishable():
    assert len(PALETTE) >= 60
    assert smallest_difference(lab(PALETTE)) > 20
    assert smallest_difference(np.r_[lab(PALETTE), [[100, 0, 0]]]) > 10  # and from a white background


@pytest.mark.parametrize("vision", [PROTANOPIA, DEUTERANOPIA], ids=["protanopia", "deuteranopia"])
def test_first_ten_are_distinguishable_without_red_or_green_cones(vision):
    assert smallest_difference(lab(PALETTE[:10], vision)) > 15
    assert smallest_difference(lab(PALETTE[:20], vision)) < 15  # the test can fail


def test_by_label():
    colors = by_label(torch.tensor([0, 1, 64, -1, -100]))
    assert colors.dtype == np.uint8 and colors.shape == (5, 3)
    np.testing.assert_array_equal(colors, [PALETTE[0], PALETTE[1], PALETTE[0], UNLABELED, UNLABELED])
    np.testing.assert_array_equal(by_label(np.array([True, False])), PALETTE[[1, 0]])
    assert by_label(np.zeros(0, int)).shape == (0, 3)


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((3, 1), int)])
def test_by_label_refuses(labels):
    with pytest.raises(ValueError, match=r"labels must be \[N\] integers"):
        by_label(labels)


def test_by_value_is_monotone_and_marks_nonfinite():
    colors = by_value(np.array([0.0, 0.5, 1.0, 7.0, np.nan, np.inf]), low=0, high=1)
    luminance = lab(colors[:3])[:, 0]
    assert (np.diff(luminance) > 10).all()
    np.testing.assert_array_equal(colors[3], colors[2])
    np.testing.assert_array_equal(colors[4:], [UNLABELED, UNLABELED])


def test_by_value_is_not_flattened_by_an_outlier():
    values = np.r_[np.linspace(0, 1, 1000), 1e6]
    assert len(np.unique(by_value(values), axis=0)) > 200


def test_by_value_of_a_constant_and_of_nothing_finite():
    assert len(np.unique(by_value(np.full(5, 3.0)), axis=0)) == 1
    np.testing.assert_array_equal(by_value(np.full(2, np.nan)), [UNLABELED] * 2)


def test_by_value_refuses():
    with pytest.raises(ValueError, match="low must not be above high, got 2 and 1"):
        by_value(np.zeros(3), low=2, high=1)
    with pytest.raises(ValueError, match="got 'rainbows'"):
        by_value(np.zeros(3), colormap="rainbows")
    with pytest.raises(ValueError, match=r"values must be \[N\] numbers, got \[3, 1\]"):
        by_value(np.zeros((3, 1)))


def test_by_height_follows_the_up_axis():
    points = np.array([[0, 0, 0], [0, 1, 5], [0, 2, 1.0]])
    assert np.argsort(lab(by_height(points))[:, 0]).tolist() == [0, 2, 1]
    assert np.argsort(lab(by_height(points, up="-y"))[:, 0]).tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="up must be x, y, z"):
        by_height(points, up="north")


@pytest.mark.parametrize(
    "colors",
    ["red", "#ff0000", (1.0, 0.0, 0.0), (255, 0, 0), np.array([[255, 0, 0]] * 2, np.uint8), torch.tensor([[1.0, 0, 0]] * 2)],
)
def test_as_colors_takes_what_people_write(colors):
    np.testing.assert_array_equal(as_colors(colors, 2), [[255, 0, 0]] * 2)


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        ("reddish", "got 'reddish'"),
        (np.zeros((3, 3)), r"colors must be one colour or \[2, 3\], got \[3, 3\]"),
        ((2.0, 0.0, 0.0), "floats in 0..1"),
        ((np.nan, 0.0, 0.0), "floats in 0..1"),
        ((256, 0, 0), "must be 0..255"),
    ],
)
def test_as_colors_refuses(colors, message):
    with pytest.raises(ValueError, match=message):
        as_colors(colors, 2)
