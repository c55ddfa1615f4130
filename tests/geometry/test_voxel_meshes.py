"""Meshes of voxel grids: closed, in place, as large as the voxels, without their steps, and with their thin parts."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.geometry.voxel_meshes import isosurface, voxel_mesh

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("open3d", reason="open3d has the marching cubes")


def ball(side: int = 24) -> np.ndarray:
    places = (np.arange(side) + 0.5) / side - 0.5
    z, y, x = np.meshgrid(places, places, places, indexing="ij")
    return x * x + y * y + z * z < 0.4**2


def test_a_ball_is_round_closed_and_as_large_as_its_voxels():
    voxels = ball()
    mesh = trimesh.Trimesh(*voxel_mesh(voxels), process=False)
    rough = trimesh.Trimesh(*voxel_mesh(voxels, smooth=False), process=False)
    assert mesh.is_watertight and mesh.volume == pytest.approx(voxels.mean(), rel=0.02)  # positive: faces look outward

    def off_round(each):  # mean angle of the normals to those of a ball, degrees
        cosine = (each.vertex_normals * each.vertices).sum(1) / np.linalg.norm(each.vertices, axis=1)
        return np.degrees(np.arccos(cosine.clip(-1, 1))).mean()

    assert off_round(mesh) < 8 < 12 < off_round(rough)


@pytest.mark.parametrize("smooth", [True, False])
def test_a_box_stands_where_its_voxels_are(smooth):
    voxels = np.zeros((20, 20, 20), bool)
    voxels[2:12, 4:10, 8:20] = True  # z, y, x; at the border of the grid
    vertices, _ = voxel_mesh(voxels, smooth=smooth)
    np.testing.assert_allclose(vertices.min(0), np.array([8, 4, 2]) / 20 - 0.5, atol=0.4 / 20)
    np.testing.assert_allclose(vertices.max(0), np.array([20, 10, 12]) / 20 - 0.5, atol=0.4 / 20)


def test_parts_of_one_voxel_stay():
    voxels = np.zeros((16, 16, 16), bool)
    voxels[8, 2:14, 8] = True  # a leg
    voxels[2, 2:14, 2:14] = True  # a plate
    mesh = trimesh.Trimesh(*voxel_mesh(voxels), process=False)
    assert mesh.body_count == 2 and mesh.is_watertight
    plate, leg = sorted(mesh.split(), key=lambda piece: -piece.volume)
    middle = leg.vertices[np.abs(leg.vertices[:, 1]) < 0.2] * 16
    assert (np.ptp(middle, axis=0)[[0, 2]] > 0.3).all()  # voxels
    assert np.ptp(leg.vertices[:, 1]) * 16 == pytest.approx(12, abs=1.5)
    assert np.ptp(plate.vertices[:, 2]) * 16 > 0.8


def test_the_threshold_is_where_the_surface_is():
    """Occupancies that fall along x: the surface moves with the threshold."""
    logits = np.broadcast_to(np.linspace(3, -3, 25), (25, 25, 25))
    occupancy = 1 / (1 + np.exp(-logits))
    ends = [voxel_mesh(occupancy, threshold)[0][:, 0].max() for threshold in (0.7, 0.5, 0.3)]
    expected = (12 - np.log(np.array([7 / 3, 1, 3 / 7])) / 0.25 + 0.5) / 25 - 0.5
    np.testing.assert_allclose(ends, expected, atol=0.75 / 25)  # a surface is a quarter voxel from every middle at least


def test_full_and_empty_grids():
    assert len(voxel_mesh(np.zeros((4, 4, 4), bool))[1]) == 0
    assert len(voxel_mesh(np.full((4, 4, 4), 0.2), 0.5)[1]) == 0
    assert trimesh.Trimesh(*voxel_mesh(np.ones((4, 4, 4), bool)), process=False).is_watertight
    assert len(isosurface(np.ones((3, 3, 3)), 0.5)[1]) == 0
    at_threshold = np.zeros((5, 5, 5))
    at_threshold[2, 2, 2] = 0.5
    assert len(voxel_mesh(at_threshold, 0.5)[1]) > 0  # full from the threshold on


def test_a_flat_grid_is_refused():
    with pytest.raises(ValueError, match=r"must be a grid \[S, S, S\]"):
        voxel_mesh(np.zeros((4, 4)))
