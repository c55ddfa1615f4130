"""Hostile and damaged files: refused in one line, before memory is asked for; a short form of `tests/fuzz_readers.py`."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import fuzz_readers
import numpy as np
import pytest

from geo3d.data.files.array_pickle import read_array_pickle, read_cloud_pickle
from geo3d.data.files.geometry import read_geometry


def test_no_damage_ends_the_process():
    pytest.importorskip("laspy", reason="laspy is optional")
    pytest.importorskip("pyarrow", reason="pyarrow is optional")
    assert fuzz_readers.fuzz([], 6, seed=1) == []


def header_of(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(1 << 40, 3), (1 << 62, 4), (3, 3, 1 << 30), (-1, 3)])
def test_arrays_that_claim_more_than_their_file(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header_of(shape) + bytes(240))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", header_of(shape) + bytes(240))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=rf"{name}: expected a NumPy file of numbers, got"):
            read_geometry(tmp_path / name)


def test_archive_that_unpacks_to_far_more(tmp_path):
    rows = 300 << 20
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("points.npy", "w") as file:
        file.write(header_of((rows // 24, 3)))
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"a\.npz: expected a NumPy file of numbers, got arrays of \d+ bytes in \d+ bytes"):
        read_geometry(tmp_path / "a.npz")


def test_archive_with_a_bad_checksum(tmp_path):
    np.savez(tmp_path / "a.npz", points=np.ones((50, 3)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[400] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: expected a NumPy file of numbers, got"):
        read_geometry(tmp_path / "a.npz")


def test_text_where_numbers_belong(tmp_path):
    np.save(tmp_path / "a.npy", np.array([["a", "b", "c"]]))
    np.savez(tmp_path / "a.npz", points=np.ones((5, 3)), normals=np.array([["a", "b", "c"]] * 5))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=rf"{name}: expected a NumPy file of numbers, got an array of <U1"):
            read_geometry(tmp_path / name)


def las_header(count: int, version: int = 2) -> bytes:
    header = bytearray(375 if version >= 4 else 227)
    header[:4], header[24], header[25] = b"LASF", 1, version
    struct.pack_into("<HII", header, 94, len(header), len(header), 0)
    struct.pack_into("<BHI", header, 104, 0, 20, min(count, (1 << 32) - 1) if version < 4 else 0)
    struct.pack_into("<3d3d", header, 131, 0.01, 0.01, 0.01, 0, 0, 0)
    if version >= 4:
        struct.pack_into("<Q", header, 247, count)
    return bytes(header) + bytes(60)


@pytest.mark.parametrize(("count", "version"), [(1 << 31, 2), (1 << 31, 4), (1 << 60, 4)])
def test_las_that_claims_more_points_than_it_has(tmp_path, count, version):
    pytest.importorskip("laspy", reason="laspy is optional")
    (tmp_path / "a.las").write_bytes(las_header(count, version))
    with pytest.raises(ValueError, match=rf"a\.las: expected {count} points as its header says, got 3 \(truncated\?\)"):
        read_geometry(tmp_path / "a.las")


class _State:
    """Pickles as a dtype or an array with a state of the test's choice."""

    def __init__(self, make, arguments, state):
        self.reduced = (make, arguments, state)

    def __reduce__(self):
        return self.reduced


FIELDS = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 27)
HOSTILE = {
    "dtype_of_objects": _State(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 63)),
    "dtype_with_fields": _State(np.dtype, ("V8", False, True), FIELDS),
    "dtype_with_shape": _State(np.dtype, ("V8", False, True), (3, "|", (np.dtype("<f8"), (1 << 40,)), None, None, 8, 1, 0)),
    "dtype_with_metadata": _State(np.dtype, ("f8", False, True), (4, "<", None, None, None, -1, -1, 0, {})),
    "array_of_more": _State(
        np.ndarray(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (1, (1 << 40,), np.dtype("f8"), False, bytes(8))
    ),
    "array_without_content": _State(np.ndarray(0).__reduce__()[0], (np.ndarray, (0,), b"b"), None),
    "code": _State(eval, ("1 + 1",), None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_pickles_of_more_than_numbers(tmp_path, name):
    reduced = HOSTILE[name]
    if reduced.reduced[2] is None:
        reduced.reduced = reduced.reduced[:2]
    if name == "dtype_with_metadata":  # a state of nine is numpy's own where there is metadata, and is plain without
        reduced.reduced = (*reduced.reduced[:2], (4, "<", None, ("a",), {}, -1, -1, 0, {"a": 1}))
    content = pickle.dumps([reduced, 1], 2)
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pkl: expected a pickle of numpy arrays and lists, got .*refused"):
        read_array_pickle(tmp_path / "a.pkl")


def test_pickle_that_reserves_memory(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")  # stores a list at place 2**31 of the memo
    assert read_array_pickle(tmp_path / "a.pkl") == []


def test_pickle_that_names_one_cloud_a_million_times(tmp_path):
    cloud = np.zeros((100, 6), np.float32)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([[cloud] * 100_000, [0] * 100_000], 4))
    with pytest.raises(ValueError, match=r"a\.pkl: .* got 100000 clouds in \d+ bytes"):
        read_cloud_pickle(tmp_path / "a.pkl", 100)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_pickles_of_arrays_are_read(tmp_path, protocol):
    rows = np.arange(12, dtype=">i4").reshape(3, 4).T
    content = [rows, np.array(["Car", "Wagen"]), np.float64(2.5), {"pose": np.eye(4)}, ("a", 3, None, True), np.zeros((0, 7))]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    read = read_array_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(read[0], rows)
    assert read[1].tolist() == ["Car", "Wagen"] and read[2] == 2.5 and read[4] == ("a", 3, None, True)
    np.testing.assert_array_equal(read[3]["pose"], np.eye(4))
    assert read[5].shape == (0, 7)


PCD = "VERSION 0.7\nFIELDS {}\nSIZE {}\nTYPE {}\nCOUNT {}\nWIDTH 9\nHEIGHT 1\nPOINTS {}\nDATA {}\n"
BROKEN_PCD = {
    "more_points": ("x y z", "4 4 4", "F F F", "1 1 1", 1 << 40, "binary"),
    "unknown_size": ("x y z", "4 4 3", "F F F", "1 1 1", 9, "binary"),
    "unknown_type": ("x y z", "4 4 4", "F F Q", "1 1 1", 9, "binary"),
    "lengths": ("x y z", "4 4", "F F F", "1 1 1", 9, "binary"),
    "huge_count": ("x y z _", "4 4 4 1", "F F F U", "1 1 1 99999999999", 9, "binary"),
    "negative_count": ("x y z _", "4 4 4 1", "F F F U", "1 1 1 -5", 9, "binary"),
    "no_position": ("a b c", "4 4 4", "F F F", "1 1 1", 9, "binary"),
    "unknown_data": ("x y z", "4 4 4", "F F F", "1 1 1", 9, "zip"),
    "compressed": ("x y z", "4 4 4", "F F F", "1 1 1", 9, "binary_compressed"),
    "text": ("x y z", "4 4 4", "F F F", "1 1 1", 9, "ascii"),
}


@pytest.mark.parametrize("name", BROKEN_PCD)
def test_pcd_whose_header_lies(tmp_path, name):
    (tmp_path / "a.pcd").write_bytes(PCD.format(*BROKEN_PCD[name]).encode() + bytes(9 * 12))
    with pytest.raises(ValueError, match=r"a\.pcd: expected .*got") as caught:
        read_geometry(tmp_path / "a.pcd")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "element", ["vertex 99999999999\nproperty float x", "face 4000000000\nproperty list uint int vertex_indices"]
)
def test_ply_that_claims_more_rows(tmp_path, element):
    head = f"ply\nformat binary_little_endian 1.0\nelement {element}\nend_header\n"
    (tmp_path / "a.ply").write_bytes(head.encode() + b"\xff" * 64)
    with pytest.raises(ValueError, match=r"a\.ply: expected the PLY format"):
        read_geometry(tmp_path / "a.ply")
