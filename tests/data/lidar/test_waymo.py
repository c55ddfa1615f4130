"""Waymo: the processed layout (arrays and pickles), and release 2 (range images in Parquet files)."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from geo3d.data import Waymo
from geo3d.data.lidar.waymo import PROCESSED_FOLDER, WaymoDataset, read_sequence
from geo3d.data.lidar.waymo_parquet import WaymoParquetDataset, range_image_points
from geo3d.geometry.cameras import rigid_matrix

SEQUENCE = "segment-1_with_camera_labels"
ROWS = np.array([[10, 0, 1, 0.5, 2, -1], [20, 5, 1, 30, 0, 1], [np.nan, 0, 0, 0, 0, -1]], np.float32)


def annotations(**changes):
    annos = {
        "name": np.array(["Vehicle", "Sign", "unknown", "Cyclist"]),
        "difficulty": np.array([0, 0, 0, 2]),
        "num_points_in_gt": np.array([9, 1, 0, 0]),
        "gt_boxes_lidar": np.arange(36, dtype=np.float32).reshape(4, 9),
    }
    return annos | changes


def write_sequence(folder, frames=3, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    infos = []
    for index in range(frames):
        np.save(folder / f"{index:04d}.npy", ROWS)
        infos.append({"point_cloud": {"lidar_sequence": folder.name, "sample_idx": index}, "annos": annotations(**changes)})
        infos[-1] |= {"frame_id": f"{folder.name}_{index:03d}", "pose": np.eye(4), "metadata": {"numbers": [1, (2.5, None)]}}
    (folder / f"{folder.name}.pkl").write_bytes(pickle.dumps(infos, protocol=2))


@pytest.fixture
def root(tmp_path):
    write_sequence(tmp_path / PROCESSED_FOLDER / SEQUENCE)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_text(f"{SEQUENCE}.tfrecord\n")
    (tmp_path / "ImageSets/val.txt").write_text("segment-1.tfrecord\n")  # named without the suffix
    return tmp_path


@pytest.mark.parametrize("split", ["train", "val"])
def test_frames(root, split):
    dataset = WaymoDataset(root, split)
    assert dataset.frames == [f"{SEQUENCE}/{index:04d}" for index in range(3)]
    sample = dataset[1]
    expected = [[10, 0, 1, np.tanh(0.5), np.tanh(2)], [20, 5, 1, 1, 0]]
    np.testing.assert_allclose(sample.points, expected, rtol=1e-6)
    assert sample.features == ("intensity", "elongation")
    assert sample.names == ["Vehicle", "Cyclist"] and sample.other_names == ("Sign",)
    assert sample.boxes[1].tolist() == list(range(27, 34))  # the speed is left out
    assert sample.num_points.tolist() == [9, 0] and sample.difficulty.tolist() == [0, 2]
    assert dataset.label_sets() == [{0, 2}] * 3


def test_options(root):
    assert WaymoDataset(root, "train", every=2).frames == [f"{SEQUENCE}/0000", f"{SEQUENCE}/0002"]
    assert len(WaymoDataset(root, "train", no_label_zones=False)[0].points) == 1
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        WaymoDataset(root, every=0)
    with pytest.raises(ValueError, match=r"split must be one of \['train', 'val'\], got 'test'"):
        WaymoDataset(root, "test")


def test_sweeps_move_with_the_car(root):
    """The car drives 1 m ahead a frame and turns left by 90 degrees before the last; the points on it of earlier frames go."""
    poses = [rigid_matrix([1, 0, 0, 0], [100 + index, 50, 2]) for index in range(3)]
    poses[2] = rigid_matrix([0.5**0.5, 0, 0, 0.5**0.5], [102, 50, 2])
    folder = root / PROCESSED_FOLDER / SEQUENCE
    infos = pickle.loads((folder / f"{SEQUENCE}.pkl").read_bytes())
    for index, info in enumerate(infos):
        info["pose"] = poses[index]
        rows = [[10, 0, 1, 0.5, 2, -1], [0.9, -0.9, 0, 0, 0, -1], [0.5, 1, 0, index, 0, 1]]
        np.save(folder / f"{index:04d}.npy", np.array(rows, np.float32))
    (folder / f"{SEQUENCE}.pkl").write_bytes(pickle.dumps(infos))
    dataset = WaymoDataset(root, num_sweeps=3)
    assert dataset.features == ("intensity", "elongation", "time") == dataset[0].features
    assert [len(sample.points) for sample in dataset] == [3, 5, 7]
    points = dataset[2].points
    np.testing.assert_allclose(points[:, 5], [0, 0, 0, 0.1, 0.1, 0.2, 0.2], atol=1e-6)
    # A point ahead of an earlier frame, x metres on in the world from where the car stands now, is to its right.
    np.testing.assert_allclose(points[[3, 5], :3], [[0, -9, 1], [0, -8, 1]], atol=1e-5)
    np.testing.assert_allclose(points[[4, 6], :3], [[1, 0.5, 0], [1, 1.5, 0]], atol=1e-5)
    np.testing.assert_allclose(points[[2, 4, 6], 3], np.tanh([2, 1, 0]), atol=1e-6)
    np.testing.assert_allclose(points[:3, :5], WaymoDataset(root)[2].points)
    assert dataset[2].boxes.tolist() == WaymoDataset(root)[2].boxes.tolist()
    sparse = WaymoDataset(
        root, every=2, num_sweeps=2, no_label_zones=False
    )  # frames that are left out still come before others
    assert sparse.frames == [f"{SEQUENCE}/0000", f"{SEQUENCE}/0002"]
    np.testing.assert_allclose(sparse[1].points[:, 5], [0, 0, 0.1], atol=1e-6)


def test_sweeps_of_the_data_module(root):
    point_range = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0)
    module = Waymo(str(root), num_sweeps=2, point_range=point_range, test_batch_size=3, gt_sampling=None)
    [batch] = module.val_dataloader()
    assert batch.points.shape == (2 + 4 + 4, 6) and module.frames("val").features[-1] == "time"
    assert Waymo(str(root)).frames("val").features == ("intensity", "elongation")


def test_sweeps_that_do_not_fit(root):
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        WaymoDataset(root, num_sweeps=0)
    path = root / PROCESSED_FOLDER / SEQUENCE / f"{SEQUENCE}.pkl"
    infos = pickle.loads(path.read_bytes())
    del infos[1]["pose"]
    path.write_bytes(pickle.dumps(infos))
    assert len(WaymoDataset(root)) == 3
    with pytest.raises(
        ValueError, match=f"expected a pose of each frame, which num_sweeps = 2 needs; {SEQUENCE}/0001 has none"
    ):
        WaymoDataset(root, num_sweeps=2)
    infos[1]["pose"] = np.eye(3)
    path.write_bytes(pickle.dumps(infos))
    with pytest.raises(ValueError, match=r"got pose \[3, 3\] in frame 1"):
        WaymoDataset(root)


def test_frames_without_annotations(root):
    folder = root / PROCESSED_FOLDER / SEQUENCE
    (folder / f"{SEQUENCE}.pkl").write_bytes(pickle.dumps([{"point_cloud": {"sample_idx": 0}}]))
    sample = WaymoDataset(root)[0]
    assert len(sample.points) == 2 and sample.boxes.shape == (0, 7) and sample.num_points.shape == (0,)


def test_pickles_run_no_code(root):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(root / "ran"),)

    path = root / PROCESSED_FOLDER / SEQUENCE / f"{SEQUENCE}.pkl"
    path.write_bytes(pickle.dumps([Attack()]))
    with pytest.raises(ValueError, match="expected a pickle of numpy arrays .*mkdir, which is refused"):
        WaymoDataset(root)
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"damaged", "expected a pickle of numpy arrays and lists, got"),
        (pickle.dumps({"a": 1}), "expected a list of frames, got dict"),
        (pickle.dumps([{}]), "expected the annotations of a frame, got no 'point_cloud' in frame 0"),
        (pickle.dumps([{"point_cloud": {"sample_idx": 0}, "annos": {"name": ["Sign"]}}]), "got no 'gt_boxes_lidar' in frame 0"),
        (
            pickle.dumps([{"point_cloud": {"sample_idx": 0}, "annos": annotations(gt_boxes_lidar=np.zeros((3, 7)))}]),
            r"got boxes \[3, 7\] for 4 names in frame 0",
        ),
    ],
    ids=["damaged", "dict", "no_cloud", "no_boxes", "box_count"],
)
def test_damaged_pickles(root, content, message):
    folder = root / PROCESSED_FOLDER / SEQUENCE
    (folder / f"{SEQUENCE}.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=f"{SEQUENCE}.pkl: .*{message}"):
        read_sequence(folder)


def test_missing_files(root):
    with pytest.raises(FileNotFoundError, match="no val2.txt|no train.txt"):
        WaymoDataset(root / PROCESSED_FOLDER)
    (root / "ImageSets/train.txt").write_text("segment-9\n")
    with pytest.raises(FileNotFoundError, match=r"no folder segment-9; .*train.txt names it"):
        WaymoDataset(root)
    dataset = WaymoDataset(root, "val")
    (root / PROCESSED_FOLDER / SEQUENCE / "0000.npy").unlink()
    with pytest.raises(FileNotFoundError, match="0000.npy: no such file"):
        dataset[0]
    np.save(root / PROCESSED_FOLDER / SEQUENCE / "0001.npy", ROWS[:, :5])
    with pytest.raises(ValueError, match=r"0001.npy: expected an array \[N, 6\], got \[2, 5\]"):
        dataset[1]


def image_of(pixels, height=4, width=8):
    """Range image with values [range, intensity, elongation, zone] at some pixels."""
    image = np.full((height, width, 4), -1, np.float32)
    for (row, column), values in pixels.items():
        image[row, column] = values
    return image


INCLINATIONS = np.array([0.1, 0, -0.1, -0.2])


@pytest.mark.parametrize("yaw", [0, 1.2, -2.5])
def test_range_image_columns_are_azimuths_of_the_car(yaw):
    """Whatever way the lidar is mounted: column 0 is just short of straight back on the left, and they turn clockwise."""
    image = image_of({(1, 0): (10, 0.5, 0.1, -1), (1, 3): (20, 0.6, 0.2, 1), (0, 4): (5, 0, 0, -1)})
    points = range_image_points(image, INCLINATIONS, rigid_matrix([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)], [1, 2, 3]))
    assert points.dtype == np.float32
    azimuth = np.arctan2(points[:, 1] - 2, points[:, 0] - 1)
    np.testing.assert_allclose(azimuth, np.pi / 8 * np.array([-1, 7, 1]), atol=1e-6)  # columns 4, 0 and 3 of 8
    distance = np.linalg.norm(points[:, :3] - [1, 2, 3], axis=1)
    np.testing.assert_allclose(distance, [5, 10, 20], rtol=1e-6)  # row by row
    np.testing.assert_allclose(points[:, 2] - 3, [5 * np.sin(0.1), 0, 0], atol=1e-6)
    np.testing.assert_allclose(points[:, 3:], [[0, 0, -1], [0.5, 0.1, -1], [0.6, 0.2, 1]], rtol=1e-6)


def test_pixel_poses_undo_the_motion_of_the_car():
    """The car has driven on and turned between two pixels of the same wall point."""
    still = np.array([8.0, 0, 0])
    frame_pose = rigid_matrix([1, 0, 0, 0.1], [100, 50, 2])
    image, poses = image_of({}), np.zeros((4, 8, 6))
    for column, (yaw, ahead) in enumerate(((0.0, 0.0), (0.05, 1.0))):
        # Turn the car so that the point lies in the middle of this column's azimuth, 8 m - ahead away.
        heading = yaw - np.pi * (1 - 2 * (column + 0.5) / 8)
        world = frame_pose[:3, :3] @ still + frame_pose[:3, 3]
        direction = heading + np.pi * (1 - 2 * (column + 0.5) / 8)
        distance = 8 - ahead
        position = world - distance * np.array([np.cos(direction), np.sin(direction), 0])
        image[1, column] = (distance, 0, 0, -1)
        poses[1, column] = (0, 0, heading, *position)
    points = range_image_points(image, INCLINATIONS, np.eye(4), poses, frame_pose)
    np.testing.assert_allclose(points[:, :3], [still, still], atol=1e-5)


def test_angles_of_pixel_poses_are_roll_pitch_yaw():
    image, poses = image_of({(1, 3): (10, 0, 0, -1)}), np.zeros((4, 8, 6))
    roll, pitch, yaw = 0.1, 0.2, 0.3
    poses[1, 3, :3] = roll, pitch, yaw
    x, y, z = (np.eye(4)[:3, :3].copy() for _ in range(3))
    x[1:, 1:] = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
    y[::2, ::2] = [[np.cos(pitch), np.sin(pitch)], [-np.sin(pitch), np.cos(pitch)]]
    z[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    plain = range_image_points(image, INCLINATIONS, np.eye(4))
    posed = range_image_points(image, INCLINATIONS, np.eye(4), poses, np.eye(4))
    np.testing.assert_allclose(posed[:, :3], plain[:, :3] @ (z @ y @ x).T, rtol=1e-5)


def test_range_image_errors():
    with pytest.raises(ValueError, match=r"range image must be \[H, W, 4\] .* got \[4, 8, 3\], \[4\]"):
        range_image_points(np.zeros((4, 8, 3)), INCLINATIONS, np.eye(4))
    with pytest.raises(ValueError, match=r"pixel poses must be \[4, 8, 6\], got \[4, 7, 6\]"):
        range_image_points(np.ones((4, 8, 4)), INCLINATIONS, np.eye(4), np.zeros((4, 7, 6)), np.eye(4))
    assert range_image_points(image_of({}), INCLINATIONS, np.eye(4)).shape == (0, 6)


TIMES = (1000, 2000)


def write_component(root, name, rows):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow reads Waymo's Parquet files")
    from pyarrow import parquet

    (root / name).mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), str(root / name / "segment-1.parquet"))


@pytest.fixture
def parquet_root(tmp_path):
    """Two frames of two lidars: the top one with poses of pixels and two returns, another with one return."""
    top, rear = image_of({(1, 3): (10, 2, 0.5, -1)}), image_of({(3, 0): (4, 1, 0, 1)})
    second = image_of({(1, 4): (12, 3, 0.5, -1)})
    lidar, poses, boxes, vehicle = [], [], [], []
    for time in reversed(TIMES):  # tables need not be in the order of time, nor of lidars
        for laser, first in ((5, rear), (1, top)):
            row = {"key.segment_context_name": "1", "key.frame_timestamp_micros": time, "key.laser_name": laser}
            for name, image in (("1", first), ("2", second if laser == 1 else None)):
                column = f"[LiDARComponent].range_image_return{name}"
                row |= {f"{column}.values": None, f"{column}.shape": None}
                if image is not None:
                    row |= {f"{column}.values": image.ravel().tolist(), f"{column}.shape": list(image.shape)}
            lidar.append(row)
        world = rigid_matrix([1, 0, 0, 0.2], [time, 0, 0])
        vehicle.append({TIME: time, "[VehiclePoseComponent].world_from_vehicle.transform": world.ravel().tolist()})
        pixel = np.zeros((4, 8, 6))
        pixel[..., 2], pixel[..., 3] = 2 * np.arctan(0.2), time + 1  # a metre further along the world's x
        column = "[LiDARPoseComponent].range_image_return1"
        poses.append(
            {TIME: time, "key.laser_name": 1, f"{column}.values": pixel.ravel().tolist(), f"{column}.shape": [4, 8, 6]}
        )
        for kind in (1, 3, 4) if time == TIMES[0] else (0,):
            box = {TIME: time, "[LiDARBoxComponent].type": kind, "[LiDARBoxComponent].num_lidar_points_in_box": 2 * kind}
            values = dict(
                zip(("center.x", "center.y", "center.z", "size.x", "size.y", "size.z", "heading"), range(7), strict=True)
            )
            boxes.append(box | {f"[LiDARBoxComponent].box.{name}": float(value) for name, value in values.items()})
            boxes[-1]["[LiDARBoxComponent].difficulty_level.detection"] = 2 if kind == 4 else None
    calibration = []
    for laser, values, place in ((1, INCLINATIONS[::-1].tolist(), [1, 0, 2]), (5, None, [-1, 0, 1])):
        prefix = "[LiDARCalibrationComponent]"
        extrinsic = rigid_matrix([1, 0, 0, 0], place).ravel().tolist()
        row = {"key.laser_name": laser, f"{prefix}.extrinsic.transform": extrinsic, f"{prefix}.beam_inclination.values": values}
        calibration.append(row | {f"{prefix}.beam_inclination.min": -0.8, f"{prefix}.beam_inclination.max": 0.0})
    for name, rows in (("lidar", lidar), ("lidar_pose", poses), ("lidar_box", boxes), ("vehicle_pose", vehicle)):
        write_component(tmp_path, name, rows)
    write_component(tmp_path, "lidar_calibration", calibration)
    return tmp_path


TIME = "key.frame_timestamp_micros"


def test_parquet_frames(parquet_root):
    dataset = WaymoParquetDataset(parquet_root)
    assert dataset.frames == ["segment-1/1000", "segment-1/2000"]
    sample = dataset[0]
    # The top lidar's pixels: the car was a metre further along the world's x, which the frame's pose turns by -2 atan 0.2.
    turn = -2 * np.arctan(0.2)
    shift = np.array([np.cos(turn), np.sin(turn), 0])
    ahead = np.array([np.cos(np.pi / 8), np.sin(np.pi / 8), 0])
    first = [1, 0, 2] + 10 * ahead + shift
    second = [1, 0, 2] + 12 * ahead * [1, -1, 1] + shift
    beam = -0.7  # the lowest of four beams at equal angles between -0.8 and 0
    rear = [-1, 0, 1] + 4 * np.array([-ahead[0] * np.cos(beam), ahead[1] * np.cos(beam), np.sin(beam)])
    np.testing.assert_allclose(sample.points[:, :3], [first, rear, second], atol=1e-4)
    np.testing.assert_allclose(sample.points[:, 3:], np.tanh([[2, 0.5], [1, 0], [3, 0.5]]), rtol=1e-6)
    assert sample.names == ["Vehicle", "Cyclist"] and sample.other_names == ("Sign",)
    assert sample.boxes[0].tolist() == list(range(7))
    assert sample.num_points.tolist() == [2, 8] and sample.difficulty.tolist() == [0, 2]
    assert len(dataset[1].boxes) == 0 and dataset[1].other_names == ()  # its only box is of no class
    assert len(WaymoParquetDataset(parquet_root, no_label_zones=False)[0].points) == 2


def test_parquet_without_boxes(parquet_root):
    (parquet_root / "lidar_box/segment-1.parquet").unlink()
    assert WaymoParquetDataset(parquet_root)[0].num_points is None


def test_parquet_errors(parquet_root):
    with pytest.raises(FileNotFoundError, match=r"no lidar/\*.parquet \(root is the folder of a split"):
        WaymoParquetDataset(parquet_root / "lidar")
    dataset = WaymoParquetDataset(parquet_root)
    (parquet_root / "lidar_pose/segment-1.parquet").write_bytes(b"cut off")
    with pytest.raises(ValueError, match="segment-1.parquet: expected a .parquet table, got"):
        dataset[0]
    (parquet_root / "lidar_calibration/segment-1.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="lidar_calibration/segment-1.parquet: no such file"):
        dataset[0]
