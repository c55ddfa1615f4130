"""Small files as users have them (`cases/`), after public reports about other libraries, and their right contents; and their kind."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh

from geo3d.data.files.binvox import read_binvox, write_binvox
from geo3d.data.files.geometry import map_offset, read_geometry
from geo3d.data.lidar.kitti_labels import read_label_file
from geo3d.data.lidar.sweeps import read_sweep

CASES = Path(__file__).parent / "cases"


def area(geometry) -> float:
    return float(trimesh.Trimesh(geometry.points, geometry.faces, process=False).area)


@pytest.mark.parametrize(("name", "intensity"), [("bigpad40.pcd", np.arange(40)), ("asciipad40.pcd", np.full(40, 7))])
def test_padding_fields(name, intensity):
    geometry = read_geometry(CASES / name)
    assert geometry.points.shape == (40, 3) and np.isfinite(geometry.points).all()
    np.testing.assert_array_equal(geometry.intensity, intensity)


def test_both_kinds_of_padding_give_the_same_points():
    binary, text = (read_geometry(CASES / name).points for name in ("bigpad40.pcd", "asciipad40.pcd"))
    np.testing.assert_allclose(binary, text, atol=1e-5)


def test_zero_normals_are_none():
    zero, without = (read_geometry(CASES / f"airplane_{name}_normals.ply") for name in ("zero", "no"))
    assert zero.normals is None
    np.testing.assert_array_equal(zero.points, without.points)


@pytest.mark.parametrize("name", ["utm.las", "utm_zero.las"])
def test_colors_that_were_never_written_are_none(name):
    pytest.importorskip("laspy", reason="laspy is optional")
    geometry = read_geometry(CASES / name)
    assert geometry.colors is None and geometry.intensity is not None


def test_one_point_at_zero_does_not_blur_the_others():
    laspy = pytest.importorskip("laspy", reason="laspy is optional")
    geometry = read_geometry(CASES / "utm_zero.las")
    true = np.asarray(laspy.read(CASES / "utm_zero.las").xyz)
    there = true.any(1)
    assert there.sum() == 199
    np.testing.assert_allclose((geometry.points + geometry.offset)[there], true[there], rtol=0, atol=1e-3)
    assert len(np.unique(np.round(geometry.points[there, 1] + geometry.offset[1], 3))) == len(np.unique(true[there, 1]))


def test_one_point_far_away_does_not_move_the_others():
    geometry = read_geometry(CASES / "outlier9.txt")
    near = geometry.points[1:]
    assert not geometry.offset.any() and len(np.unique(near, axis=0)) == 11
    np.testing.assert_allclose(near[0], [0.1049, -0.5357, 0.3616], atol=1e-6)


def test_five_columns_in_a_file_that_four_would_fit():
    for read in (read_geometry, read_sweep):
        with pytest.raises(ValueError, match=r"the values jump from row to row; they fit 5 a point.*--columns 5"):
            read(CASES / "five_columns.bin")
        assert len(read(CASES / "five_columns.bin", columns=5).points) == 400
    rows = np.fromfile(CASES / "five_columns.bin", "<f4").reshape(400, 5)
    named = read_sweep(CASES / "five_columns.bin", columns="x,y,z,ring,intensity")
    assert named.features == ("intensity", "ring")
    np.testing.assert_array_equal(named.points.numpy(), rows[:, [0, 1, 2, 4, 3]])


COLORS = {
    "float255_rgb.ply": {0: (255, 0, 255), 1: (0, 10, 255)},
    "coff.off": {0: (255, 0, 0)},
    "diffuse.ply": {0: (255, 0, 255), 1: (0, 10, 255)},
    "semantic3d.txt": {0: (184, 152, 129)},
}


@pytest.mark.parametrize("name", COLORS)
def test_colors(name):
    colors = read_geometry(CASES / name).colors
    assert {row: tuple(colors[row].tolist()) for row in COLORS[name]} == COLORS[name]


@pytest.mark.parametrize(("name", "first"), [("reflectivity.pcd", 223), ("hdr_reflect.csv", 108), ("semantic3d.txt", 108)])
def test_intensity_under_the_names_of_drivers(name, first):
    assert read_geometry(CASES / name).intensity[0] == first


def test_triangle_strip():
    geometry = read_geometry(CASES / "tristrips.ply")  # four corners, and -1 that ends the strip
    np.testing.assert_array_equal(geometry.faces, [[0, 1, 2], [2, 1, 3]])


def test_all_nodes_of_a_scene():
    assert len(read_geometry(CASES / "two_clouds.glb").points) == 400


def test_cloud_beside_a_mesh(tmp_path):
    scene = trimesh.Scene([trimesh.creation.box(), trimesh.PointCloud(np.random.default_rng(0).random((50, 3)))])
    scene.export(tmp_path / "a.glb")
    geometry = read_geometry(tmp_path / "a.glb")
    assert len(geometry.points) == 58 and geometry.faces.shape == (12, 3) and area(geometry) == pytest.approx(6)


def test_truncated_las():
    pytest.importorskip("laspy", reason="laspy is optional")
    with pytest.raises(ValueError, match=r"trunc\.las: expected 200 points as its header says, got 150"):
        read_geometry(CASES / "trunc.las")


@pytest.mark.parametrize("name", ["mixed_poly.ply", "mixed_poly_ascii.ply", "latin1.off", "coff.off"])
def test_polygons(name):
    geometry = read_geometry(CASES / name)
    assert geometry.points.shape == (8, 3) and geometry.faces.shape == (12, 3) and area(geometry) == pytest.approx(24)


def test_lists_at_vertices_and_texture_coordinates():
    np.testing.assert_array_equal(read_geometry(CASES / "vertex_list_bin.ply").points, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    geometry = read_geometry(CASES / "texcoord.ply")
    assert geometry.faces.shape == (2, 3) and area(geometry) == pytest.approx(4)


@pytest.mark.parametrize("name", ["trailing_comma.csv", "count_first.xyz"])
def test_tables_of_other_programs(name):
    geometry = read_geometry(CASES / name)
    assert geometry.points.shape == (12, 3) and geometry.points[0, 0] == np.float32(0.1257)


def test_labels_that_are_not_ascii(tmp_path):
    assert read_label_file(CASES / "umlaut.txt").names == ("Fußgänger",)
    content = (CASES / "umlaut.txt").read_bytes()
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / "latin.txt").write_bytes(content.decode().encode("latin-1"))
    for name in ("mark.txt", "latin.txt"):
        assert read_label_file(tmp_path / name).names == ("Fußgänger",)


def test_clouds_on_the_map_say_their_offset():
    pytest.importorskip("laspy", reason="laspy is optional")
    geometry = read_geometry(CASES / "chair_utm.las")
    np.testing.assert_allclose(geometry.points.mean(0) + geometry.offset, [500_000, 5_399_999.5, 200], atol=2)


# More of the same kinds, made here.
STREET = np.random.default_rng(0)
SWEEP = np.column_stack(
    [
        STREET.normal(size=(900, 2)) * 20,
        STREET.normal(size=900) - 1,
        STREET.random(900),
        STREET.integers(0, 32, 900),
        STREET.random(900),
    ]
).astype("<f4")


@pytest.mark.parametrize("true", [4, 5, 6])
@pytest.mark.parametrize("name", ["a.bin", "a.pcd.bin", "0000001.bin"])
def test_width_of_rows_is_checked(tmp_path, true, name):
    rows = SWEEP[:, :true].copy()
    rows.tofile(tmp_path / name)
    expected = {"a.bin": 4, "a.pcd.bin": 5, "0000001.bin": 6}[name]
    if true == expected:
        np.testing.assert_array_equal(read_sweep(tmp_path / name).points.numpy(), rows)
    else:
        with pytest.raises(ValueError, match=rf"fit {true} a point|columns {true}"):
            read_sweep(tmp_path / name)


@pytest.mark.parametrize("kind", ["<f8", "<u4"])
def test_other_types_of_numbers_are_refused(tmp_path, kind):
    (SWEEP[:, :4] if kind == "<f8" else np.arange(3600).reshape(-1, 4) % 20).astype(kind).tofile(tmp_path / "a.bin")
    for read in (read_geometry, read_sweep):
        with pytest.raises(ValueError, match="float64" if kind == "<f8" else "labels or a mask"):
            read(tmp_path / "a.bin")


def test_seven_columns_that_may_be_either(tmp_path):
    random = np.random.default_rng(0)
    table = np.c_[random.random((500, 3)), random.integers(0, 256, (500, 3)), random.integers(0, 9, 500)]
    np.savetxt(tmp_path / "a.txt", table)
    with pytest.raises(ValueError, match="--columns"):
        read_geometry(tmp_path / "a.txt")
    geometry = read_geometry(tmp_path / "a.txt", columns="x,y,z,r,g,b,_")
    np.testing.assert_array_equal(geometry.colors, table[:, 3:6])


def test_measurements_are_no_colors(tmp_path):
    np.save(tmp_path / "a.npy", np.c_[SWEEP[:, :5], SWEEP[:, 5]])  # intensity, ring and time
    with pytest.raises(ValueError, match=r"--columns x,y,z,intensity"):
        read_geometry(tmp_path / "a.npy")
    assert read_sweep(tmp_path / "a.npy").features == ("intensity", "feature_1", "feature_2")  # and not Waymo's zones


@pytest.mark.parametrize("suffix", [".ply", ".txt", ".npz"])
def test_measurements_that_are_all_zero_are_none(tmp_path, suffix):
    table = np.c_[np.random.default_rng(0).random((50, 3)), np.zeros((50, 4))]
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, points=table[:, :3], normals=table[:, 3:6], colors=table[:, 3:6].astype(np.uint8), intensity=table[:, 6])
    else:
        names = ["x", "y", "z", "nx", "ny", "nz", "intensity"]
        head = (
            ",".join(names)
            if suffix == ".txt"
            else "\n".join(
                ["ply", "format ascii 1.0", "element vertex 50", *(f"property float {name}" for name in names), "end_header"]
            )
        )
        np.savetxt(path, table, delimiter="," if suffix == ".txt" else " ", header=head, comments="")
    geometry = read_geometry(path)
    assert geometry.normals is None and geometry.colors is None and geometry.intensity is None


def test_normals_of_which_many_are_missing_keep_the_points(tmp_path):
    table = np.c_[np.random.default_rng(0).random((40, 3)), np.tile([0, 0, 1.0], (40, 1))]
    table[::3, 3:] = np.nan
    np.savez(tmp_path / "a.npz", points=table[:, :3], normals=table[:, 3:])
    geometry = read_geometry(tmp_path / "a.npz")
    assert len(geometry.points) == 40 and geometry.normals is None


def test_pcd_without_version_and_with_packed_colors(tmp_path):
    bits = np.array([0x00FF8001, 0x00010203], "<u4")
    for kind, values in (("U", bits), ("F", bits.view("<f4"))):
        rows = np.zeros(2, [("xyz", "<f8", 3), ("rgb", values.dtype)])
        rows["rgb"], rows["xyz"] = values, [[1, 2, 3], [4, 5, 6]]
        head = f"FIELDS x y z rgb\nSIZE 8 8 8 4\nTYPE F F F {kind}\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA "
        (tmp_path / "binary.pcd").write_bytes(f"{head}binary\n".encode() + rows.tobytes())
        text = "".join(
            f"{x} {y} {z} {value!r}\n" for (x, y, z), value in zip(rows["xyz"].tolist(), values.tolist(), strict=True)
        )
        (tmp_path / "text.pcd").write_text(f"{head}ascii\n{text}")
        for name in ("binary.pcd", "text.pcd"):
            np.testing.assert_array_equal(read_geometry(tmp_path / name).colors, [[255, 128, 1], [1, 2, 3]])


def test_compressed_pcd_with_references(tmp_path):
    """An LZF stream with references to bytes before, one longer than its distance."""
    values = np.zeros(600, np.uint8)
    head = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 50\nHEIGHT 1\nPOINTS 50\nDATA binary_compressed\n"
    stream = bytes([0, 0]) + bytes([7 << 5, 255, 0]) + bytes([7 << 5, 255, 0]) + bytes([7 << 5, 600 - 1 - 2 * 264 - 9, 0])
    (tmp_path / "a.pcd").write_bytes(head.encode() + np.array([len(stream), 600], "<u4").tobytes() + stream)
    np.testing.assert_array_equal(read_geometry(tmp_path / "a.pcd").points, values.view("<f4").reshape(3, 50).T)


@pytest.mark.parametrize("lines", [["0 0 0", "1 0 0", "0 1 0"], ["0 0 0", "1 0 0", "0 1 0", "3 0 1"]])
def test_truncated_off(tmp_path, lines):
    (tmp_path / "a.off").write_text("\n".join(["OFF", "3 1 0", *lines]))
    with pytest.raises(ValueError, match=r"a\.off: .*truncated"):
        read_geometry(tmp_path / "a.off")


def test_latin_comments_in_tables(tmp_path):
    (tmp_path / "a.txt").write_bytes("// Stück ü\n1 2 3 # größer\n4 5 6\n".encode("latin-1"))
    np.testing.assert_array_equal(read_geometry(tmp_path / "a.txt").points, [[1, 2, 3], [4, 5, 6]])


def test_binvox_with_comments(tmp_path):
    voxels = np.random.default_rng(0).random((3, 4, 5)) > 0.5
    content = write_binvox(tmp_path / "a.binvox", voxels).read_bytes()
    (tmp_path / "a.binvox").write_bytes(
        content.replace(b"\ndim", b"\n# made by h\xe4nd\r\ndim").replace(b"\ndata\n", b"\r\ndata\r\n")
    )
    np.testing.assert_array_equal(read_binvox(tmp_path / "a.binvox").voxels, voxels)


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_sweeps_on_the_map_keep_their_digits(tmp_path, suffix):
    table = np.c_[SWEEP[:, :3].astype(np.float64) + [500_000, 5_400_000, 200], SWEEP[:, 3]]
    (np.save if suffix == ".npy" else np.savetxt)(tmp_path / f"a{suffix}", table)
    sweep = read_sweep(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(sweep.points[:, :3].double().numpy() + sweep.offset, table[:, :3], rtol=0, atol=1e-4)


def test_offset_follows_the_middle():
    points = np.random.default_rng(0).normal(size=(1000, 3))
    points[:400] += 1e7
    assert not map_offset(points).any()
    assert (map_offset(points + 1e6) > 9e5).all()


def test_no_case_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted(CASES.glob("*.p*")):
            read_geometry(path)
