"""File readers: every format from a small file written here, damaged files, and real samples where they are found."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh
from shared_folders import SAMPLES

from geo3d.data.files.geometry import SUFFIXES, Geometry, read_geometry, sample_mesh, write_ply

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3.5]], dtype=np.float32)
NORMALS = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0.6, 0.8, 0]], dtype=np.float32)
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], dtype=np.uint8)
INTENSITY = np.array([0.5, 0.25, 0, 1], dtype=np.float32)
FACES = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]])


def table_file(path: Path, table: np.ndarray, delimiter: str = " ", header: str = "") -> Path:
    lines = [delimiter.join(f"{value:g}" for value in row) for row in table]
    path.write_text("\n".join([header] * bool(header) + lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".xyz", ".csv"])
@pytest.mark.parametrize("delimiter", [" ", ",", ", ", ";", "\t"])
def test_text_with_normals(tmp_path, suffix, delimiter):
    geometry = read_geometry(table_file(tmp_path / f"a{suffix}", np.hstack([POINTS, NORMALS]), delimiter))
    np.testing.assert_array_equal(geometry.points, POINTS)
    np.testing.assert_allclose(geometry.normals, NORMALS, rtol=1e-6)
    assert geometry.points.dtype == geometry.normals.dtype == np.float32
    assert geometry.colors is None and geometry.intensity is None and not geometry.is_mesh


LAYOUTS = {
    "xyz": (POINTS, None),
    "intensity": (np.c_[POINTS, INTENSITY], "intensity"),
    "ring": (np.c_[POINTS, INTENSITY, [1, 2, 3, 4]], "intensity"),
    "normals": (np.c_[POINTS, NORMALS], "normals"),
    "normals_label": (np.c_[POINTS, NORMALS, [7, 7, 8, 8]], "normals"),
    "colors": (np.c_[POINTS, COLORS], "colors"),
    "colors_float": (np.c_[POINTS, COLORS / np.float32(255)][1:], "colors"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".txt", ".npy", ".npz"])
def test_layouts_of_columns(tmp_path, layout, suffix):
    table, name = LAYOUTS[layout]
    if layout == "colors_float":  # one row that is no unit vector, so that these are colours
        table = np.r_[table, [[0, 0, 3.5, 0.5, 0.5, 0.2]], [[0, 0, 3.5, 0.1, 0.1, 0.2]]]
    path = tmp_path / f"a{suffix}"
    if suffix == ".txt":
        np.savetxt(path, table, fmt="%.9g")
    else:
        np.save(path, table) if suffix == ".npy" else np.savez(path, points=table)
    geometry = read_geometry(path)
    np.testing.assert_array_equal(geometry.points, table[:, :3].astype(np.float32))
    given = {key for key in ("normals", "colors", "intensity") if getattr(geometry, key) is not None}
    assert given == ({name} if name else set())
    if layout == "colors_float":
        np.testing.assert_array_equal(geometry.colors[:3], COLORS[1:])
    elif name:
        expected = {"normals": NORMALS, "colors": COLORS, "intensity": INTENSITY}[name]
        np.testing.assert_allclose(getattr(geometry, name), expected, rtol=1e-6)


def test_text_header_names_columns(tmp_path):
    table = np.c_[INTENSITY, POINTS[:, ::-1], COLORS]
    geometry = read_geometry(table_file(tmp_path / "a.csv", table, ",", "intensity,z,y,x,r,g,b"))
    np.testing.assert_array_equal(geometry.points, POINTS)
    np.testing.assert_array_equal(geometry.colors, COLORS)
    np.testing.assert_array_equal(geometry.intensity, INTENSITY)


def test_npz_with_named_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", points=POINTS, normals=NORMALS, colors=COLORS, faces=FACES, unrelated=np.zeros(3))
    geometry = read_geometry(tmp_path / "a.npz")
    np.testing.assert_array_equal(geometry.faces, FACES)
    np.testing.assert_array_equal(geometry.colors, COLORS)
    assert geometry.is_mesh and geometry.faces.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "columns", "width"), [("a.bin", None, 4), ("a.pcd.bin", None, 5), ("a.bin", 3, 3), ("a.bin", 6, 6)]
)
def test_bin(tmp_path, name, columns, width):
    np.c_[POINTS, INTENSITY, [1, 1, 2, 2], [3, 0, 0, 9]][:, :width].astype("<f4").tofile(tmp_path / name)
    geometry = read_geometry(tmp_path / name, columns=columns)
    np.testing.assert_array_equal(geometry.points, POINTS)
    if width > 3:
        np.testing.assert_array_equal(geometry.intensity, INTENSITY)
    assert geometry.colors is None


def test_bin_of_another_width_is_reported(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(4 * 5 * 3))
    with pytest.raises(
        ValueError, match=r"a\.bin: expected a multiple of 16 bytes .* got 60 bytes; --columns 3 or 5 would fit"
    ):
        read_geometry(tmp_path / "a.bin")


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


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_pcd(tmp_path, encoding):
    pytest.importorskip("open3d", reason="PCD files are read through open3d")
    fields = "FIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    head = f"# .PCD v0.7\nVERSION 0.7\n{fields}WIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4\nDATA {encoding}\n"
    table = np.c_[POINTS, INTENSITY].astype("<f4")
    body = table.tobytes() if encoding == "binary" else "".join(" ".join(map(str, row)) + "\n" for row in table).encode()
    (tmp_path / "a.pcd").write_bytes(head.encode() + body)
    geometry = read_geometry(tmp_path / "a.pcd")
    np.testing.assert_array_equal(geometry.points, POINTS)
    np.testing.assert_array_equal(geometry.intensity, INTENSITY)


def test_las_without_laspy_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "laspy", None)
    (tmp_path / "a.laz").write_bytes(b"LASF" + bytes(400))
    with pytest.raises(ImportError, match=r"a\.laz: .*pip install 'laspy\[lazrs\]'"):
        read_geometry(tmp_path / "a.laz")


def test_ply_round_trip(tmp_path):
    path = write_ply(tmp_path / "a.ply", POINTS, colors=COLORS, normals=NORMALS, labels=np.array([3, -1, 0, 2]))
    geometry = read_geometry(path)
    np.testing.assert_array_equal(geometry.points, POINTS)
    np.testing.assert_array_equal(geometry.normals, NORMALS)
    np.testing.assert_array_equal(geometry.colors, COLORS)
    labels = trimesh.load(path).metadata["_ply_raw"]["vertex"]["data"]["label"].reshape(-1)
    np.testing.assert_array_equal(labels, [3, -1, 0, 2])


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


BROKEN = {
    "empty.ply": (b"", "got an empty file"),
    "text.ply": (b"this is no ply file\nat all\n", "expected the PLY format"),
    "cut.ply": (b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n\0\0", "PLY"),
    "text.glb": (b"hello, this is text and not a glb file", "expected the GLB format"),
    "words.off": (b"OFF\nmany words\n", "expected the OFF format"),
    "binary.off": (b"\xff\xfe\0\1OFF", "expected the OFF format"),
    "text.pcd": (b"hello\n", "expected a PCD file"),
    "cut.pcd": (
        b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 9\nHEIGHT 1\nPOINTS 9\nDATA binary\n\0\0",
        "PCD",
    ),
    "cut.bin": (bytes(30), "expected a multiple of 16 bytes"),
    "words.txt": (b"hello world\n", "expected lines of numbers, got 'hello world' in line 1"),
    "comments.txt": (b"# only\n# comments\n", "got no line of numbers"),
    "binary.txt": (b"\xff\xfe\x00\x01\x80", "got binary data"),
    "ragged.txt": (b"1 2 3\n1 2\n", "expected lines of numbers"),
    "two.csv": (b"1,2\n3,4\n", r"got \[2, 2\]"),
    "neither.txt": (b"0 0 0 -5 300 0\n1 0 0 2 2 2\n", "expected unit normals, or colours"),
    "text.npy": (b"hello", "expected a NumPy file"),
    "text.npz": (b"hello", "expected a NumPy file"),
    "a.docx": (b"hello", "unknown suffix '.docx', expected one of .bin .csv"),
    "plain": (b"hello", "unknown suffix"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_give_one_line(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_geometry(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", points=np.array([{}, 1], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            read_geometry(tmp_path / name)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ply: no such file"):
        read_geometry(tmp_path / "none.ply")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_geometry(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".bin"])
def test_nonfinite_points(tmp_path, suffix):
    def write(table: np.ndarray) -> Path:
        path = tmp_path / f"a{suffix}"
        {".txt": lambda: np.savetxt(path, table), ".npy": lambda: np.save(path, table), ".bin": lambda: table.tofile(path)}[
            suffix
        ]()
        return path

    table = np.c_[POINTS, INTENSITY].astype("<f4")
    table[1, 0] = np.nan
    with pytest.warns(UserWarning, match="dropped 1 of 4 points that are not finite"):
        assert len(read_geometry(write(table)).points) == 3
    table[2, 1] = np.inf
    table[3, 3] = np.nan
    with pytest.raises(ValueError, match="expected finite points, got 3 of 4 that are not"):
        read_geometry(write(table))


def test_map_coordinates_keep_their_digits(tmp_path):
    far = np.array([[600_000.25, 5_000_000.125, 100], [600_010.5, 5_000_000.25, 101]])
    np.save(tmp_path / "a.npy", far)
    geometry = read_geometry(tmp_path / "a.npy")
    np.testing.assert_array_equal(geometry.points.astype(np.float64) + geometry.offset, far)


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


REAL = {  # file: points, what it has besides
    "generic/pcd/bun0.pcd": (397, {"normals"}),
    "generic/pcd/milk_color.pcd": (13_704, {"colors"}),
    "generic/pcd/car6.pcd": (10_031, set()),
    "generic/ply/small_gicp_source.ply": (69_792, {"intensity"}),
    "generic/mesh/bunny.ply": (8_171, {"intensity", "faces"}),
    "modelnet10/bathtub/train/bathtub_0002.off": (700, {"faces"}),
    "modelnet40_normal_resampled/airplane/airplane_0001.txt": (10_000, {"normals"}),
    "kitti/training/velodyne/000000.bin": (115_384, {"intensity"}),
    "body_scan/bps_demo_scan/demo_scan.ply": (10_000, set()),
}


@pytest.mark.parametrize("name", REAL)
def test_real_samples(name):
    if not (SAMPLES / name).is_file():
        pytest.skip(f"no real samples under {SAMPLES}; set GEO3D_SAMPLES")
    geometry = read_geometry(SAMPLES / name)
    count, has = REAL[name]
    assert len(geometry.points) == count and np.isfinite(geometry.points).all()
    assert {key for key in ("normals", "colors", "intensity", "faces") if getattr(geometry, key) is not None} == has


def test_real_organised_cloud_drops_its_gaps():
    path = SAMPLES / "body_scan/pcl_kinect_person/person.pcd"
    if not path.is_file():
        pytest.skip(f"no real samples under {SAMPLES}; set GEO3D_SAMPLES")
    with pytest.warns(UserWarning, match="dropped 64451 of 307200 points"):
        assert len(read_geometry(path).points) == 242_749


def test_real_las():
    pytest.importorskip("laspy", reason="laspy is optional")
    path = SAMPLES / "generic/las/simple.las"
    if not path.is_file():
        pytest.skip(f"no real samples under {SAMPLES}; set GEO3D_SAMPLES")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geometry = read_geometry(path)
    assert len(geometry.points) == 1065 and geometry.colors is not None and geometry.offset[0] > 600_000


def test_every_suffix_is_in_the_docstring():
    assert all(suffix in read_geometry.__doc__ for suffix in SUFFIXES)


def test_big_endian_ply(tmp_path):
    head = b"ply\nformat binary_big_endian 1.0\nelement vertex 1\nproperty double x\nproperty double y\nproperty double z\nend_header\n"
    (tmp_path / "a.ply").write_bytes(head + struct.pack(">3d", 1, 2, 3))
    np.testing.assert_array_equal(read_geometry(tmp_path / "a.ply").points, [[1, 2, 3]])
