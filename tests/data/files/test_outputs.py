"""Outputs stand in the coordinates of the user's file, and shapes of few distinct points are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.data.files.geometry import read_geometry, write_ply
from geo3d.data.shapes.prepare import oriented_cloud
from geo3d.predict.sweeps import intensity_scale


def test_written_points_keep_map_coordinates(tmp_path):
    points = np.array([[500_000.125, 5_400_000.25, 200], [500_001.5, 5_400_002.75, 201]])
    geometry = read_geometry(write_ply(tmp_path / "a.ply", points))
    np.testing.assert_array_equal(geometry.points + geometry.offset, points)
    near = write_ply(tmp_path / "b.ply", points - points[0])
    assert near.stat().st_size < (tmp_path / "a.ply").stat().st_size  # float32, as ever


def test_many_points_of_one_place_are_refused():
    with pytest.raises(ValueError, match="at least 32 distinct points, got 1"):
        oriented_cloud(np.zeros((400, 3), np.float32))


SCALES = {"fraction": (1.0, 1.0), "percent": (100.0, 100.0), "byte": (255.0, 255.0), "word": (65535.0, 65535.0)}


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("outlier", [None, 1.01, 50.0])
def test_one_echo_does_not_set_the_scale_of_intensities(name, outlier):
    largest, expected = SCALES[name]
    values = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0)) * largest
    if outlier is not None:
        values[7] = largest * outlier
    assert intensity_scale(values) == expected


def test_counts_of_photons_are_a_scale_of_their_own():
    values = torch.linspace(0, 3300, 20_000)[:, None]
    assert intensity_scale(values) == pytest.approx(3300 * 0.995, rel=1e-3)
