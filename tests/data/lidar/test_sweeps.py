"""Sweep files: how their format is told, NaN, truncated and empty files, images."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from geo3d.data.lidar.sweeps import FEATURES, CameraView, LidarSample, image_size, read_checked_rows, read_sweep
from geo3d.geometry.cameras import pinhole

ROWS = np.random.default_rng(0).uniform(-50, 50, (60, 6)).astype(np.float32)  # 60 rows divide by 4, 5 and 6 columns


@pytest.mark.parametrize(
    ("name", "columns", "features"),
    [
        ("000008.bin", 4, ("intensity",)),
        ("n015__LIDAR_TOP__15.pcd.bin", 5, ("intensity", "ring")),
        ("host-a017_lidar1_12.bin", 5, ("intensity", "ring")),
        ("0000000.bin", 6, ("intensity", "elongation", "no_label_zone")),
    ],
)
def test_names_tell_the_columns_of_bin_files(tmp_path, name, columns, features):
    path = tmp_path / name
    path.write_bytes(ROWS[:, :columns].tobytes())
    sample = read_sweep(path)
    assert sample.features == features and sample.frame == name.removesuffix(".bin").removesuffix(".pcd")
    np.testing.assert_array_equal(sample.points, ROWS[:, :columns])
    assert sample.points.dtype == torch.float32 and sample.boxes.shape == (0, 7) and sample.names == []


def test_options_tell_the_columns(tmp_path):
    path = tmp_path / "sweep.bin"
    path.write_bytes(ROWS.tobytes())
    assert read_sweep(path, format="waymo").features == ("intensity", "elongation", "no_label_zone")
    assert read_sweep(path, columns=5).features == ("intensity", "feature_1")
    assert read_sweep(path, columns=3).features == ()
    with pytest.raises(ValueError, match="format 'waymo' has 6 columns, got columns=5"):
        read_sweep(path, format="waymo", columns=5)


@pytest.mark.parametrize(("columns", "last"), [(3, None), (4, "intensity"), (6, "feature_2"), (7, "feature_3")])
def test_arrays_keep_their_columns(tmp_path, columns, last):
    table = np.concatenate([ROWS, ROWS], 1)[:, :columns].astype(np.float64)
    np.save(tmp_path / "0000.npy", table)
    sample = read_sweep(tmp_path / "0000.npy")
    np.testing.assert_array_equal(sample.points, table.astype(np.float32))
    assert sample.features[-1:] == (() if last is None else (last,))


def test_other_files_of_points(tmp_path):
    np.savetxt(tmp_path / "cloud.xyz", ROWS[:, :4])
    sample = read_sweep(tmp_path / "cloud.xyz")
    assert sample.features == ("intensity",)
    np.testing.assert_allclose(sample.points, ROWS[:, :4], rtol=1e-6)


def test_rows_that_are_not_finite_are_dropped_in_silence(tmp_path):
    rows = ROWS[:, :4].copy()
    rows[3, 1], rows[7, 3], rows[9, 0] = np.nan, np.inf, -np.inf
    (tmp_path / "000000.bin").write_bytes(rows.tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = read_sweep(tmp_path / "000000.bin").points
    np.testing.assert_array_equal(points, np.delete(rows, [3, 7, 9], 0))


def test_no_points(tmp_path):
    np.save(tmp_path / "0000.npy", np.zeros((0, 6), np.float32))
    assert read_sweep(tmp_path / "0000.npy").points.shape == (0, 6)
    (tmp_path / "000000.bin").write_bytes(np.full((5, 4), np.nan, np.float32).tobytes())
    assert read_sweep(tmp_path / "000000.bin").points.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("000000.bin", b"", "000000.bin: expected points, got an empty file"),
        ("000000.bin", ROWS[:, :4].tobytes()[:-3], r"expected rows of 4 float32, got 957 bytes \(truncated"),
        ("a.pcd.bin", ROWS[:7, :4].tobytes(), "expected rows of 5 float32, got 112 bytes"),
        ("0000.npy", b"\x93NUMPY damaged", "0000.npy: expected a NumPy file of numbers, got"),
        ("sweep.feather", b"not a table", "sweep.feather: expected a .feather table, got"),
        ("sweep.rosbag", b"x", "unknown suffix '.rosbag', expected one of .feather"),
    ],
    ids=["empty", "truncated", "other_columns", "npy", "feather", "suffix"],
)
def test_damaged_files(tmp_path, name, content, message):
    if name.endswith("feather"):
        pytest.importorskip("pyarrow", reason="pyarrow reads .feather")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_sweep(tmp_path / name)


def test_other_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="000000.bin: no such file"):
        read_sweep(tmp_path / "000000.bin")
    with pytest.raises(FileNotFoundError, match="is a folder, expected a file"):
        read_sweep(tmp_path)
    np.save(tmp_path / "flat.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"flat.npy: expected an array \[N, 3 or more\] of numbers, got \[5\] float64"):
        read_sweep(tmp_path / "flat.npy")
    with pytest.raises(ValueError, match="format must be one of .* got 'once'"):
        read_sweep(tmp_path / "flat.npy", format="once")
    with pytest.raises(ValueError, match=r"points must be \[N, 3 \+ 1\], got \[2, 3\]"):
        LidarSample(torch.zeros(2, 3), ("intensity",), "0", tmp_path)
    with pytest.raises(ValueError, match=r"boxes must be .* got \[2, 7\] and \[0\]"):
        LidarSample(torch.zeros(2, 3), (), "0", tmp_path, boxes=torch.zeros(2, 7))


def test_images(tmp_path):
    import cv2

    picture = np.zeros((4, 6, 3), np.uint8)
    picture[1, 2] = (10, 20, 30)
    cv2.imwrite(str(tmp_path / "view.png"), picture[..., ::-1])
    view = CameraView("front", tmp_path / "view.png", pinhole(np.eye(3), np.eye(4)))
    np.testing.assert_array_equal(view.read(), picture)
    assert image_size(view.path) == (6, 4)
    view.path.write_bytes(b"no image")
    for read in (view.read, lambda: image_size(view.path)):
        with pytest.raises(ValueError, match="view.png: expected an image"):
            read()
    view.path.unlink()
    with pytest.raises(FileNotFoundError, match="view.png"):
        view.read()


@pytest.mark.parametrize(
    ("name", "count", "features"),
    [
        ("semantickitti/sequences/00/velodyne/000000.bin", 124_668, 1),
        ("waymo_kitti_format/training/velodyne/0000000.bin", 800, 3),
        ("lyft/lidar/host-a017_lidar1_1236118886501000046.bin", 5, 2),
        ("generic/pcd/room_scan1.pcd", 112_586, 0),
        ("generic/ply/small_gicp_source.ply", 69_792, 1),
    ],
)
def test_real_sweeps(samples, name, count, features):
    sample = read_sweep(samples / name)
    assert sample.points.shape == (count, 3 + features)
    assert float(sample.points[:, :3].abs().max()) < 500


@pytest.mark.parametrize(("name", "count"), [("simple.las", 1065), ("simple.laz", 1065)])
def test_real_airborne_sweeps(samples, name, count):
    pytest.importorskip("laspy", reason="laspy reads .las")
    if name.endswith(".laz"):
        pytest.importorskip("lazrs", reason="lazrs decompresses .laz")
    sample = read_sweep(samples / "generic" / "las" / name)
    assert sample.points.shape == (count, 4) and sample.features == ("intensity",)


@pytest.mark.parametrize("layout,width", [("kitti", 5), ("kitti", 6), ("nuscenes", 4), ("nuscenes", 6)])
@pytest.mark.parametrize("count", [600, 6720, 20_160])
def test_data_sets_check_the_width_of_their_rows(layout, width, count, tmp_path):
    """Files whose size divides by both widths."""
    generator = np.random.default_rng(0)
    columns = [
        generator.normal(0, 20, count),
        generator.normal(0, 10, count),
        generator.normal(-1, 0.5, count),
        generator.random(count),
        generator.integers(0, 32, count),
        np.zeros(count),
    ]
    rows = np.column_stack(columns).astype("<f4")
    path = tmp_path / "a.bin"
    rows[:, :width].tofile(path)
    with pytest.raises(ValueError, match=f"a.bin: .*they fit {width} a point; sweeps of {layout} have"):
        read_checked_rows(path, layout)
    rows[:, : 3 + len(FEATURES[layout])].tofile(path)
    assert len(read_checked_rows(path, layout)) == count
