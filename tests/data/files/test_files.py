"""File readers: formats that need a package, damaged and missing files, and real samples where they are found."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from shared_folders import SAMPLES
from tetrahedron import INTENSITY, POINTS

from geo3d.data.files.geometry import SUFFIXES, read_geometry


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
