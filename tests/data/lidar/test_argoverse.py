"""Argoverse 2: logs, sweeps, boxes, cameras, and the real log."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.data.lidar.argoverse import Argoverse2Dataset, read_argoverse2_cameras
from geo3d.data.lidar.sweeps import read_sweep
from geo3d.ops import count_points_in_boxes

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow reads Argoverse 2's tables")
from pyarrow import feather  # noqa: E402  only where pyarrow is installed

TIMES = (1_000_000_000, 1_100_000_000)
POSE = {"qw": [1.0], "qx": [0.0], "qy": [0.0], "qz": [0.0], "tx_m": [0.0], "ty_m": [0.0], "tz_m": [0.0]}


def write_table(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pyarrow.table(columns), str(path))


@pytest.fixture
def log(tmp_path):
    """Two sweeps of three points; boxes of three objects in the first."""
    log = tmp_path / "log-a"
    for time in TIMES:
        write_table(
            log / f"sensors/lidar/{time}.feather",
            x=np.array([1, 10, 10.2], np.float16),
            y=np.array([2, 0, 0], np.float16),
            z=np.array([0, 1, np.nan], np.float16),
            intensity=np.array([0, 128, 255], np.uint8),
            laser_number=np.array([0, 63, 1], np.uint8),
            offset_ns=np.array([0, 50_000_000, 99_000_000], np.int32),
        )
    write_table(
        log / "annotations.feather",
        timestamp_ns=[TIMES[0]] * 3,
        category=["PEDESTRIAN", "BUS", "RAILED_VEHICLE"],
        length_m=[1.0, 12, 30],
        width_m=[0.5, 3, 3],
        height_m=[1.8, 4, 4],
        qw=[1.0, np.cos(0.3), 1],
        qx=[0.0] * 3,
        qy=[0.0] * 3,
        qz=[0.0, np.sin(0.3), 0],
        tx_m=[10.0, 30, 50],
        ty_m=[0.0, 5, 5],
        tz_m=[1.0, 1, 1],
        num_interior_pts=[1, 0, 0],
    )
    half = 0.5**0.5
    pose = {"qw": [0.5], "qx": [-0.5], "qy": [0.5], "qz": [-0.5], "tx_m": [1.0], "ty_m": [0.0], "tz_m": [1.4]}
    write_table(log / "calibration/egovehicle_SE3_sensor.feather", sensor_name=["front"], **pose)
    intrinsics = {"fx_px": [1000.0], "fy_px": [1000.0], "cx_px": [775.0], "cy_px": [1024.0], "k1": [half]}
    sizes = {"height_px": np.array([2048], np.uint16), "width_px": np.array([1550], np.uint16)}
    write_table(log / "calibration/intrinsics.feather", sensor_name=["front"], **intrinsics, **sizes)
    return log


def test_sweeps_and_boxes(log):
    dataset = Argoverse2Dataset(log.parent)
    assert dataset.frames == [f"log-a/{time}" for time in TIMES]
    sample = dataset[0]
    assert sample.features == ("intensity", "laser", "time")
    np.testing.assert_allclose(sample.points, [[1, 2, 0, 0, 0, 0], [10, 0, 1, 128, 63, 0.05]])  # the third is not finite
    assert sample.names == ["PEDESTRIAN", "BUS"] and sample.other_names == ("RAILED_VEHICLE",)
    np.testing.assert_allclose(sample.boxes, [[10, 0, 1, 1, 0.5, 1.8, 0], [30, 5, 1, 12, 3, 4, 0.6]], rtol=1e-6)
    assert sample.num_points.tolist() == [1, 0]
    assert len(dataset[1].boxes) == 0 and dataset[1].num_points.shape == (0,)


def test_one_log_and_no_annotations(log):
    (log / "annotations.feather").unlink()
    dataset = Argoverse2Dataset(log)
    assert len(dataset) == 2 and dataset[0].boxes.shape == (0, 7) and dataset[0].num_points is None


def test_nearest_images(log):
    assert Argoverse2Dataset(log)[0].cameras == ()
    folder = log / "sensors/cameras/front"
    folder.mkdir(parents=True)
    for time in (TIMES[0] - 20_000_000, TIMES[0] + 30_000_000):
        (folder / f"{time}.jpg").write_bytes(b"")
    dataset = Argoverse2Dataset(log)
    assert dataset[0].cameras[0].path.stem == str(TIMES[0] - 20_000_000)
    assert dataset[1].cameras == ()  # none within 50 ms
    camera = dataset[0].cameras[0].camera
    pixels, depth = camera.project(np.array([[11.0, 0, 1.4]]))
    np.testing.assert_allclose([*pixels[0], *depth], [775, 1024, 10], atol=1e-9)
    assert camera.image_size == (1550, 2048)


def test_errors(log):
    with pytest.raises(FileNotFoundError, match="no sensors/lidar/"):
        Argoverse2Dataset(log / "calibration")
    write_table(log / "annotations.feather", timestamp_ns=[1])
    with pytest.raises(ValueError, match="annotations.feather: expected columns category, .* got timestamp_ns"):
        Argoverse2Dataset(log)[0]
    write_table(log / "calibration/egovehicle_SE3_sensor.feather", sensor_name=["rear"], **POSE)
    with pytest.raises(ValueError, match="expected a pose of front, which intrinsics.feather names"):
        read_argoverse2_cameras(log)
    write_table(log / f"sensors/lidar/{TIMES[0]}.feather", x=[1.0])
    with pytest.raises(ValueError, match="expected columns y, z, intensity, laser_number, offset_ns, got x"):
        read_sweep(log / f"sensors/lidar/{TIMES[0]}.feather")


@pytest.mark.parametrize(("index", "num_points", "held"), [(0, 99_229, 9_399), (1, 99_466, 9_289)])
def test_real_log(samples, index, num_points, held):
    dataset = Argoverse2Dataset(samples / "argoverse2/sensor/val")
    sample = dataset[index]
    assert len(dataset) == 2 and sample.points.shape == (num_points, 6)
    assert len(sample.boxes) == 81 and len(set(sample.names)) == 10 and sample.other_names == ()
    found = count_points_in_boxes(sample.points[:, :3].contiguous(), sample.boxes)
    assert found.tolist() == sample.num_points.tolist() and int(found.sum()) == held


def test_real_cameras(samples):
    cameras = read_argoverse2_cameras(next((samples / "argoverse2/sensor/val").iterdir()))
    assert len(cameras) == 9
    pixels, depth = cameras["ring_front_center"].project(np.array([[30.0, 0, 1.4]]))
    assert depth[0] == pytest.approx(30 - 1.635, abs=0.1) and 600 < pixels[0, 0] < 950
