"""Voxels of meshes: boxes by hand, enclosed and open ones, the frame, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.data.synthetic.shapes.primitives import box, superellipsoid
from geo3d.geometry.voxelization import voxelize_mesh


def test_a_box_fills_its_cells():
    solid = box((4.0, 1.9, 1.1), center=(7, -3, 5))
    grid = voxelize_mesh(solid.vertices, solid.faces, 16)
    assert grid.scale == pytest.approx(4) and grid.origin.tolist() == pytest.approx([5, -5, 3])
    expected = np.zeros((16, 16, 16), bool)
    expected[5:11, 4:12, :] = True  # z from 5.8 to 10.2 cells, y from 4.2 to 11.8, x all
    np.testing.assert_array_equal(grid.voxels, expected)


def test_inside_is_filled_or_not():
    ball = superellipsoid((1.0, 1.0, 1.0))
    full, shell = (voxelize_mesh(ball.vertices, ball.faces, 32, fill=fill).voxels for fill in (True, False))
    assert full.sum() == pytest.approx(np.pi / 6 * 32**3, rel=0.12)  # the surface adds half a voxel all around
    assert not shell[16, 16, 16] and full[16, 16, 16] and (full >= shell).all()


def test_an_open_box_is_not_filled():
    solid = box((1.0, 1.0, 1.0))
    normals = np.cross(*(np.diff(solid.vertices[solid.faces], axis=1).swapaxes(0, 1)))
    lidless = solid.faces[normals[:, 1] < 0.5]
    grid = voxelize_mesh(solid.vertices, lidless, 16).voxels
    assert not grid[8, 8, 8] and grid[8, 0, 8]


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3), int), "at least one face"),
        (np.zeros((3, 2)), np.array([[0, 1, 2]]), r"vertices must be \[V, 3\]"),
        (np.zeros((3, 3)), np.array([[0, 1, 3]]), "rows of vertices"),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "finite"),
        (np.ones((3, 3)), np.array([[0, 1, 2]]), "got a single point"),
    ],
)
def test_bad_meshes(vertices, faces, message):
    with pytest.raises(ValueError, match=message):
        voxelize_mesh(vertices, faces, 8)
