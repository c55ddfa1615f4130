"""`geo3d predict` with a detector: boxes, text, pictures, sweeps of other sensors, and nothing to find."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from level_sweeps import street_sweep, turned
from street_frames import RANGE, write_frames

import geo3d
from geo3d.data.lidar.box_files import ENDING, SweepBoxes, boxes_as_json, read_box_file, sweep_name
from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.data.lidar.kitti_labels import read_label_file
from geo3d.data.lidar.sweeps import LidarSample, read_sweep
from geo3d.models.dsvt import DSVTCenter
from geo3d.tools import predict
from geo3d.tools.predicting import boxes as boxes_tool
from geo3d.tools.predicting.files import output_files
from geo3d.tools.viewing import Options, open_paths
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


def weights(folder, sensor="kitti", features=("intensity",), score_threshold=0.0):
    """An untrained detector that finds the likeliest dozen of boxes in everything."""
    torch.manual_seed(1)
    arguments = {**ARGUMENTS, "in_features": 3 + len(features)}
    info = WeightsInfo(
        network="geo3d.models.dsvt.DSVTCenter",
        arguments=arguments,
        task="detection",
        labels={
            "class_names": CLASSES,
            "decoder": {"nms_thresholds": [0.2] * 3, "score_threshold": score_threshold, "max_objects": 12},
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
    options = ["--out", str(tmp_path), "--min-score", "0", "--save", f"{tmp_path}/p.png", "--json", f"{tmp_path}/all.json"]
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
    assert predict.main([str(detector), str(sweep), "--out", str(tmp_path), "--overwrite", "--score", "1"]) == 0
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
    assert "no calib" not in capsys.readouterr().out  # such files have none
    assert not (tmp_path / "sweep_boxes.txt").exists()
    (tmp_path / "velodyne").mkdir()
    points.astype("<f4").tofile(tmp_path / "velodyne" / "7.bin")
    assert predict.main([str(detector), f"{tmp_path}/velodyne/7.bin", "--out", str(tmp_path)]) == 0
    assert "no calib/7.txt beside" in capsys.readouterr().out


def placed(detector, tmp_path, points, *options) -> dict:
    points.astype("<f4").tofile(tmp_path / "s.bin")
    assert predict.main([str(detector), f"{tmp_path}/s.bin", "--out", str(tmp_path), "--overwrite", *options]) == 0
    return json.loads((tmp_path / "s_boxes.json").read_text())["placement"]


def test_how_the_sensor_stands(detector, tmp_path, capsys):
    lifted = turned(street_sweep(), 0, 4, -90, up=1.4)
    found = placed(detector, tmp_path, lifted, "--forward=-y", "--save", f"{tmp_path}/a.png")
    assert found["forward"] == "-y" and found["ground"]["height"] == pytest.approx(0.33, abs=0.05)
    assert found["moved_up"] == pytest.approx(-1.4, abs=0.05)
    assert found["levelled_pitch_deg"] == pytest.approx(4 + 0.7, abs=0.3)  # to the lean of KITTI's sensor
    said = capsys.readouterr().out
    assert f"s.bin: {found['note']}" in said and "ground found 0.3" in said and (tmp_path / "a.png").stat().st_size > 10_000
    assert placed(detector, tmp_path, lifted, "--forward=-y", "--sensor-height", "2.5")["moved_up"] == pytest.approx(2.5 - 1.73)
    found = placed(detector, tmp_path, lifted, "--no-level", "--all-around")
    assert found == {**found, "ground": None, "forward": "x", "moved_up": 0, "levelled_pitch_deg": 0, "note": ""}
    assert placed(detector, tmp_path, street_sweep())["note"] == ""


def test_no_ground_is_told(detector, tmp_path, capsys):
    found = placed(detector, tmp_path, np.random.default_rng(0).uniform(-4, 4, (20_000, 4)))
    assert found["ground"] is None and "no ground found within 20 m" in found["note"]
    assert f"s.bin: {found['note']}" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--forward", "up"], ["--sensor-height", "tall"], ["--sensor-height", "1e9"]])
def test_bad_mountings(options, detector, tmp_path, capsys):
    street_sweep().tofile(tmp_path / "s.bin")
    assert predict.main([str(detector), f"{tmp_path}/s.bin", "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_picture_without_an_image_that_is_absent(detector, tmp_path, capsys):
    frames = write_frames(tmp_path / "kitti", count=1)
    sample = read_kitti_frame(frames / "training", "000000")
    (frames / "training/image_2/000000.png").write_bytes(b"no image")
    predictor = geo3d.load(detector)
    boxes_tool._draw(predictor(sample), predictor, tmp_path / "a.png", all_around=True)
    assert "image_2: not shown: " in capsys.readouterr().err and (tmp_path / "a.png").stat().st_size > 5000


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


def test_a_damaged_label_file_does_not_break_a_prediction(detector, root, tmp_path):
    sweep = tmp_path / "training" / "velodyne" / "000000.bin"
    for folder, name in (("velodyne", "000000.bin"), ("calib", "000000.txt"), ("image_2", "000000.png")):
        (tmp_path / "training" / folder).mkdir(parents=True)
        (tmp_path / "training" / folder / name).write_bytes((root / "training" / folder / name).read_bytes())
    labels = tmp_path / "training" / "label_2" / "000000.txt"
    labels.parent.mkdir()
    labels.write_bytes(b"Car \xff one two")
    assert predict.main([str(detector), str(sweep), "--out", str(tmp_path / "out")]) == 0
    found = geo3d.load(detector)(sweep)
    assert found.sample.cameras and not len(found.sample.boxes)


def test_min_score_is_the_threshold_of_the_decoder(root, tmp_path):
    """Below the stored threshold as well as above it; the default that the help names is the one that acts."""
    stored = weights(tmp_path, score_threshold=0.3)
    sweep = str(root / "training/velodyne/000000.bin")

    def scores(*options):
        assert predict.main([str(stored), sweep, "--out", str(tmp_path), "--overwrite", *options]) == 0
        result = json.loads((tmp_path / "000000_boxes.json").read_text())
        return result["min_score"], [each["score"] for each in result["objects"]]

    (default, found), (_, same) = scores(), scores("--min-score", "0.3")
    (low, more), (_, none) = scores("--min-score", "0"), scores("--score", "0.999")
    assert default == 0.3 and low == 0 and found == same and none == []
    assert len(more) > len(found) and min(more) < 0.3 and all(score > 0.3 for score in found)


def test_view_shows_what_predict_looked_for(detector, root, tmp_path):
    sweep = root / "training/velodyne/000000.bin"
    assert predict.main([str(detector), str(sweep), "--out", str(tmp_path), "--min-score", "0.01"]) == 0
    path = tmp_path / "000000_boxes.json"
    [(file, boxes)] = read_box_file(path)
    assert file == sweep and boxes.min_score == 0.01 and len(boxes.boxes) > 0 and sweep_name(file) == "000000"

    def shown(min_score):
        scene = open_paths([path], Options(min_score=min_score))[0].scene
        return len(scene.layers["predicted boxes"].parts[0].segments) // 14

    assert shown(None) == len(boxes.boxes) == shown(0.0)
    assert shown(float(boxes.scores.max())) == (boxes.scores == boxes.scores.max()).sum()


def test_names_of_sweeps():
    names = {"a/000008.bin": "000008", "n015__LIDAR.pcd.bin": "n015__LIDAR", "b.PCD": "b", "c.tar.ply": "c.tar", "d": "d"}
    assert {path: sweep_name(path) for path in names} == names
    for path in ("n015__LIDAR.pcd.bin", "000008.bin"):
        arguments = argparse.Namespace(files=[Path(path)], out=Path("out"))
        assert output_files(arguments, ENDING, sweep_name) == [Path("out") / f"{names.get(path, '000008')}_boxes.json"]


def test_box_files_carry_velocities_and_offsets(tmp_path):
    boxes = SweepBoxes(np.arange(9.0)[None] + 5e6, ("Car",), np.array([0.5]), 0.1)
    (tmp_path / "x.json").write_text(json.dumps([boxes_as_json("s.bin", boxes, ("Car", "Van"))]))
    [(file, read)] = read_box_file(tmp_path / "x.json")
    assert file.name == "s.bin" and read.names == ("Car",) and read.min_score == 0.1
    np.testing.assert_array_equal(read.boxes, boxes.boxes)
    for damaged in ('{"file": "a", "objects": [{"name": "Car"}]}', '{"file": "a", "objects": 7}', "[1]", "{", "[" * 10**5):
        (tmp_path / "x.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"x\.json: expected"):
            read_box_file(tmp_path / "x.json")
