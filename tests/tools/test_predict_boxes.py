"""`geo3d predict` with a detector: boxes, text, pictures, sweeps of other sensors, and nothing to find."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from street_frames import RANGE, write_frames

import geo3d
from geo3d.data.lidar.kitti_labels import read_label_file
from geo3d.data.lidar.sweeps import LidarSample, read_sweep
from geo3d.models.dsvt import DSVTCenter
from geo3d.tools import predict
from geo3d.zoo.weights import WeightsInfo, save_weights

ARGUMENTS = {
    "num_classes": 3,
    "in_features": 4,
    "point_range": RANGE,
    "voxel_size": [0.64, 0.64, 4.0],
    "stages": [{"blocks": 1, "set_size": 16, "window": [8, 8, 1], "shift": [4, 4, 0], "stride": [1, 1, 1]}],
    "channels": 16,
    "heads": 2,
    "bev_blocks": [1],
    "bev_strides": [1],
    "bev_channels": [16],
    "bev_up_strides": [1],
    "bev_up_channels": [16],
    "head_channels": 16,
}
CLASSES = ["Car", "Pedestrian", "Cyclist"]


def weights(folder, sensor="kitti", features=("intensity",)):
    """An untrained detector that finds the likeliest dozen of boxes in everything."""
    torch.manual_seed(1)
    arguments = {**ARGUMENTS, "in_features": 3 + len(features)}
    info = WeightsInfo(
        network="geo3d.models.dsvt.DSVTCenter",
        arguments=arguments,
        task="detection",
        labels={
            "class_names": CLASSES,
            "decoder": {"nms_thresholds": [0.2] * 3, "score_threshold": 0.0, "max_objects": 12},
        },
        preprocessing={"sensor": sensor, "features": list(features), "camera_view_only": sensor == "kitti"},
    )
    path = folder / f"{sensor}.safetensors"
    save_weights(path, DSVTCenter(**arguments), info)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("kitti"), count=2)


def test_boxes_of_a_kitti_frame(detector, root, tmp_path, capsys):
    sweep = root / "training/velodyne/000000.bin"
    options = ["--out", str(tmp_path), "--score", "0", "--save", f"{tmp_path}/p.png", "--json", f"{tmp_path}/all.json"]
    assert predict.main([str(detector), str(sweep), *options]) == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "000000_boxes.json").read_text())
    assert [{**result, "output": f"{tmp_path}/000000_boxes.json"}] == json.loads((tmp_path / "all.json").read_text())
    assert 0 < len(result["objects"]) <= 12 and sum(result["counts"].values()) == len(result["objects"])
    assert f"Car {result['counts']['Car']}, Pedestrian" in out
    first = result["objects"][0]
    assert first["name"] in CLASSES and len(first["center"]) == len(first["size"]) == 3 and 0 <= first["score"] <= 1
    lines = read_label_file(tmp_path / "000000_boxes.txt")
    assert lines.scores is not None and len(lines) <= len(result["objects"])
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert predict.main([str(detector), str(sweep), *options]) == 2  # nothing is overwritten
    assert "exists" in capsys.readouterr().err
    assert predict.main([str(detector), str(sweep), "--out", str(tmp_path), "--overwrite", "--score", "1.1"]) == 0
    assert read_label_file(tmp_path / "000000_boxes.txt").names == ()


def test_several_files(detector, root, tmp_path):
    files = [str(root / f"training/velodyne/00000{number}.bin") for number in range(3)]  # the last has no points in range
    assert predict.main([str(detector), *files, "--out", str(tmp_path / "new")]) == 0
    assert len(list((tmp_path / "new").glob("*_boxes.json"))) == 3
    assert predict.main([str(detector), files[0], files[0], "--out", str(tmp_path)]) == 2


def test_a_cloud_without_calibration(detector, root, tmp_path, capsys):
    points = read_sweep(root / "training/velodyne/000000.bin").points.numpy()
    np.save(tmp_path / "sweep.npy", points)
    assert predict.main([str(detector), f"{tmp_path}/sweep.npy", "--out", str(tmp_path)]) == 0
    assert "no calib/sweep.txt beside" in capsys.readouterr().out
    assert not (tmp_path / "sweep_boxes.txt").exists()


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 4), np.float32),
        np.full((50, 4), np.nan, np.float32),
        np.full((50, 4), 500, np.float32),
        np.zeros((1, 3), np.float32),
    ],
    ids=["no_points", "nan", "outside", "one_point"],
)
def test_hardly_any_points(points, detector):
    predictor = geo3d.load(detector)
    found = predictor(points)
    assert found.detections.boxes.shape == (len(found), 7) and found.detections.boxes.isfinite().all()
    assert list(found.counts()) == CLASSES and sum(found.counts().values()) == len(found)


def test_array_path_and_sample_agree(detector, root):
    predictor = geo3d.load(detector)
    path = root / "training/velodyne/000001.bin"
    sample = read_sweep(path)
    for other in (sample.points.numpy(), sample):
        torch.testing.assert_close(predictor(other).detections.boxes, predictor(sample.points).detections.boxes)
    assert predictor(path).sample.cameras  # and of KITTI's folders what the image shows alone
    assert len(predictor.network_points(predictor.read(path))) < len(sample.points)


def test_bad_arrays(detector):
    with pytest.raises(ValueError, match="points must be an array"):
        geo3d.load(detector)(np.zeros((5, 2)))


@pytest.mark.parametrize("sensor", ["kitti", "nuscenes", "waymo"])
def test_measurements_of_other_sensors(sensor, tmp_path):
    """Intensities come in the scale of the network's sensor, what the sweep does not have is zero."""
    features = {"kitti": ("intensity",), "nuscenes": ("intensity", "time"), "waymo": ("intensity", "elongation")}[sensor]
    predictor = geo3d.load(weights(tmp_path, sensor, features))
    scale = 255 if sensor == "nuscenes" else 1
    source = tmp_path / "x"
    kitti = LidarSample(torch.tensor([[1.0, 0, 0, 0.5]]), ("intensity",), "x", source)
    nuscenes = LidarSample(torch.tensor([[1.0, 0, 0, 127.5, 3]]), ("intensity", "ring"), "x", source)
    argoverse = LidarSample(torch.tensor([[1.0, 0, 0, 127.5, 3, 0.1]]), ("intensity", "laser", "time"), "x", source)
    waymo = LidarSample(
        torch.tensor([[1.0, 0, 0, np.arctanh(0.5), 2, -1]]), ("intensity", "elongation", "no_label_zone"), "x", source
    )
    rest = [0.0] * (len(features) - 1)
    for sample in (kitti, nuscenes, argoverse):
        assert predictor.network_points(sample)[0].tolist() == pytest.approx([1, 0, 0, 0.5 * scale, *rest])
    rest = [np.tanh(2)] if sensor == "waymo" else rest
    assert predictor.network_points(waymo)[0].tolist() == pytest.approx([1, 0, 0, 0.5 * scale, *rest])


@pytest.mark.parametrize("name", ["short.bin", "empty.bin", "notes.docx"])
def test_bad_files(name, detector, tmp_path, capsys):
    (tmp_path / name).write_bytes({"short.bin": b"\0" * 17, "empty.bin": b""}.get(name, b"x"))
    assert predict.main([str(detector), f"{tmp_path}/{name}", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and name in error


def test_real_sweeps_of_every_kind(detector, samples, tmp_path, capsys):
    files = [
        next(samples.glob(kind), None)
        for kind in ("nuscenes/**/*.pcd.bin", "waymo_kitti_format/**/*.bin", "argoverse2/**/lidar/*.feather")
    ]
    found = [str(path) for path in files if path is not None]
    assert found
    assert predict.main([str(detector), *found, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("_boxes.json") == len(found)
