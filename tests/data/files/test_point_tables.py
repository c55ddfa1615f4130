"""Points in rows of text, NumPy arrays and bare numbers: which column is what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tetrahedron import COLORS, FACES, INTENSITY, NORMALS, POINTS

from geo3d.data.files.geometry import read_geometry


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
