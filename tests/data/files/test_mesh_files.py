"""Meshes in files, PLY that is written, and points drawn on meshes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from tetrahedron import COLORS, FACES, NORMALS, POINTS

from geo3d.data.files.geometry import Geometry, read_geometry, sample_mesh, write_ply


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".off", ".stl", ".glb", ".gltf"])
def test_mesh_formats(tmp_path, suffix):
    path = tmp_path / f"tetra{suffix}"
    exported = trimesh.Trimesh(POINTS, FACES, process=False).export(path)
    if suffix == ".gltf":  # several files
        for name, content in exported.items() if isinstance(exported, dict) else []:
            (tmp_path / (path.name if name.endswith(".gltf") else name)).write_bytes(content)
    geometry = read_geometry(path)
    assert geometry.is_mesh and geometry.faces.shape == (4, 3) and geometry.points.shape == (4, 3)
    corners = {tuple(sorted(map(tuple, geometry.points[face].tolist()))) for face in geometry.faces}
    assert corners == {tuple(sorted(map(tuple, POINTS[face].tolist()))) for face in FACES}


def test_scene_is_joined_with_its_transforms(tmp_path):
    tetra = trimesh.Trimesh(POINTS, FACES, process=False)
    scene = trimesh.Scene([tetra])
    scene.add_geometry(tetra.copy(), transform=trimesh.transformations.translation_matrix([10, 0, 0]))
    scene.export(tmp_path / "two.glb")
    geometry = read_geometry(tmp_path / "two.glb")
    assert geometry.points.shape == (8, 3) and geometry.faces.shape == (8, 3)
    assert geometry.points[:, 0].max() == 11


@pytest.mark.parametrize("head", ["OFF\n4 4 0\n", "OFF4 4 0\n", "OFF 4 4 0\n", "OFF\n# a comment\n4 4 6\n"])
def test_off_headers(tmp_path, head):
    body = "".join(f"{x} {y} {z}\n" for x, y, z in POINTS) + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES)
    (tmp_path / "a.off").write_text(head + body)
    geometry = read_geometry(tmp_path / "a.off")
    np.testing.assert_array_equal(geometry.points, POINTS)
    np.testing.assert_array_equal(geometry.faces, FACES)


def test_off_polygon_is_split(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    assert read_geometry(tmp_path / "a.off").faces.shape == (2, 3)


def test_ply_round_trip(tmp_path):
    path = write_ply(tmp_path / "a.ply", POINTS, colors=COLORS, normals=NORMALS, labels=np.array([3, -1, 0, 2]))
    geometry = read_geometry(path)
    np.testing.assert_array_equal(geometry.points, POINTS)
    np.testing.assert_array_equal(geometry.normals, NORMALS)
    np.testing.assert_array_equal(geometry.colors, COLORS)
    labels = trimesh.load(path).metadata["_ply_raw"]["vertex"]["data"]["label"].reshape(-1)
    np.testing.assert_array_equal(labels, [3, -1, 0, 2])


def test_big_endian_ply(tmp_path):
    head = b"ply\nformat binary_big_endian 1.0\nelement vertex 1\nproperty double x\nproperty double y\nproperty double z\nend_header\n"
    (tmp_path / "a.ply").write_bytes(head + struct.pack(">3d", 1, 2, 3))
    np.testing.assert_array_equal(read_geometry(tmp_path / "a.ply").points, [[1, 2, 3]])


def test_write_ply_refuses_to_overwrite(tmp_path):
    path = write_ply(tmp_path / "a.ply", POINTS)
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        write_ply(path, POINTS[:2])
    write_ply(path, POINTS[:2], overwrite=True)
    assert len(read_geometry(path).points) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colors": COLORS.astype(float)}, "colors must be uint8"),
        ({"colors": COLORS[:2]}, r"colors do not fit 4 points, got \[2, 3\]"),
        ({"labels": np.zeros((4, 1), int)}, "labels do not fit 4 points"),
        ({"labels": np.zeros(4)}, "labels do not fit 4 points"),
        ({"normals": NORMALS[:, :2]}, r"normals do not fit 4 points, got \[4, 2\]"),
    ],
)
def test_write_ply_checks_shapes(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_ply(tmp_path / "a.ply", POINTS, **options)
    assert not (tmp_path / "a.ply").exists()


def test_bad_faces_and_vertices(tmp_path):
    np.savez(tmp_path / "a.npz", points=POINTS, faces=[[0, 1, 9]])
    with pytest.raises(ValueError, match="expected faces of 4 vertices, got vertex 9"):
        read_geometry(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points=np.where(POINTS > 3, np.nan, POINTS), faces=FACES)
    with pytest.raises(ValueError, match="expected finite vertices, got 1 of 4"):
        read_geometry(tmp_path / "b.npz")


def geometry_of(points: np.ndarray, faces: np.ndarray | None) -> Geometry:
    return Geometry(points.astype(np.float32), None, None, None, faces, Path("made.off"))


def test_sample_mesh_is_uniform_by_area():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    faces = np.array([[0, 1, 2], [0, 4, 5], [0, 2, 3]])  # the middle one has no area
    sampled = sample_mesh(geometry_of(square, faces), 20_000, seed=3)
    assert sampled.shape == (20_000, 6) and sampled.dtype == np.float32
    np.testing.assert_allclose(np.abs(sampled[:, 5]), 1, atol=1e-6)
    counts, _, _ = np.histogram2d(sampled[:, 0], sampled[:, 1], bins=4, range=[[0, 1], [0, 1]])
    assert np.abs(counts - 1250).max() < 6 * np.sqrt(1250)  # 6 standard deviations, with a fixed seed
    np.testing.assert_array_equal(sampled, sample_mesh(geometry_of(square, faces), 20_000, seed=3))
    assert not np.array_equal(sampled, sample_mesh(geometry_of(square, faces), 20_000, seed=4))


def test_sample_mesh_errors():
    with pytest.raises(ValueError, match="without faces"):
        sample_mesh(geometry_of(POINTS, None), 10)
    with pytest.raises(ValueError, match="1 faces without area"):
        sample_mesh(geometry_of(POINTS, np.array([[0, 0, 1]])), 10)
    with pytest.raises(ValueError, match="num_points must be at least 1"):
        sample_mesh(geometry_of(POINTS, FACES), 0)
