"""KITTI: folders, labels, calibration, label files written and read again, and the real samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from geo3d.data.lidar.kitti import KittiDataset, read_kitti_frame
from geo3d.data.lidar.kitti_labels import KittiObjects, objects_from_boxes, read_label_file, write_label_file
from geo3d.geometry.boxes import boxes_from_kitti, project_boxes, wrap_angle
from geo3d.geometry.cameras import kitti_camera
from geo3d.ops import count_points_in_boxes

P2 = np.array([[700, 0, 600, 45], [0, 700, 180, 0.2], [0, 0, 1, 0.003]])
FORWARD = np.array([[0, -1, 0, 0.01], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
CALIBRATION = "\n".join(
    [
        "P0: " + " ".join(["0"] * 12),
        "P2: " + " ".join(map(str, P2.ravel())),
        "R0_rect: 1 0 0 0 1 0 0 0 1",
        "Tr_velo_to_cam: " + " ".join(map(str, FORWARD.ravel())),
        "",
    ]
)
LABELS = """\
Car 0.00 0 1.55 614.24 150.00 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62
Van 0.10 1 1.55 300.00 150.00 400.00 200.00 2.00 1.80 4.50 -5.00 1.75 20.00 0.10
DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10
Pedestrian 0.40 2 0.20 100.00 150.00 120.00 180.00 1.70 0.60 0.80 -8.00 1.70 25.00 -0.50
"""


@pytest.fixture
def root(tmp_path):
    """Two training frames and a test frame; frame 000001 has no image and an empty label file."""
    points = np.random.default_rng(0).uniform((0, -20, -2, 0), (40, 20, 1, 1), (200, 4)).astype("<f4")
    for folder, frames in (("training", ("000000", "000001")), ("testing", ("000000",))):
        for name in ("velodyne", "label_2", "calib", "image_2"):
            (tmp_path / folder / name).mkdir(parents=True)
        for frame in frames:
            (tmp_path / folder / "velodyne" / f"{frame}.bin").write_bytes(points.tobytes())
            (tmp_path / folder / "calib" / f"{frame}.txt").write_text(CALIBRATION)
    (tmp_path / "training/label_2/000000.txt").write_text(LABELS)
    (tmp_path / "training/label_2/000001.txt").write_text("")
    Image.new("RGB", (1242, 375)).save(tmp_path / "training/image_2/000000.png")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_text("000000\n000001\n")
    return tmp_path


def test_classes_are_sorted_out(root):
    dataset = KittiDataset(root, "train")
    assert len(dataset) == 2 and dataset.frames == ["000000", "000001"]
    sample = dataset[0]
    assert sample.points.shape == (200, 4) and sample.features == ("intensity",)
    assert sample.names == ["Car", "Pedestrian"] and sample.labels.tolist() == [0, 1]
    assert sample.other_names == ("Van",) and sample.other_boxes.shape == (1, 7)
    assert sample.difficulty.tolist() == [0, 2]
    assert dataset.objects(0).names == ("Car", "Van", "DontCare", "Pedestrian")
    # The car: 13.22 m ahead and 1 m right of camera 0, standing on y = 1.75, its heading 1.62 from +x towards -z.
    expected = [13.22 + 0.27, -1.00 + 0.01, -1.75 + 1.57 / 2 - 0.08, 4.15, 1.73, 1.57, -1.62 + 1.5 * np.pi]
    np.testing.assert_allclose(sample.boxes[0], expected, atol=1e-5)
    assert sample.cameras[0].camera.image_size == (1242, 375) and sample.cameras[0].read().shape == (375, 1242, 3)


def test_own_classes(root):
    sample = KittiDataset(root, "train", ("Van", "Tram"))[0]
    assert sample.names == ["Van"] and sample.other_names == ("Car", "Pedestrian")


def test_frame_without_objects_and_image(root):
    sample = KittiDataset(root, "train")[1]
    assert sample.boxes.shape == (0, 7) and sample.labels.dtype == torch.int64 and sample.cameras == ()


def test_test_split_has_no_labels(root):
    dataset = KittiDataset(root, "test")
    assert len(dataset) == 1 and len(dataset[0].boxes) == 0 and len(dataset.objects(0)) == 0


def test_frames_without_calibration_and_labels(root):
    (root / "testing/calib/000000.txt").unlink()
    assert len(read_kitti_frame(root / "testing", "000000").points) == 200
    (root / "training/calib/000000.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no calib/000000.txt, which labels and images need"):
        KittiDataset(root, "train")[0]


def test_camera_view_only(root):
    full, cut = KittiDataset(root, "train")[0], KittiDataset(root, "train", camera_view_only=True)[0]
    camera = full.cameras[0].camera
    pixels, depth = camera.project(full.points.double())
    inside = (depth > 0) & (pixels >= 0).all(1) & (pixels < torch.tensor([1242, 375])).all(1)
    assert 0 < len(cut.points) < len(full.points)
    torch.testing.assert_close(cut.points, full.points[inside], rtol=0, atol=0)
    with pytest.raises(FileNotFoundError, match="no image_2/000001.png"):
        KittiDataset(root, "train", camera_view_only=True)[1]


def test_reduced_sweeps_stand_in(root):
    (root / "training/velodyne").rename(root / "training/velodyne_reduced")
    assert KittiDataset(root, "train")[0].source.parent.name == "velodyne_reduced"


@pytest.mark.parametrize(
    ("height", "occlusion", "truncation", "grade"),
    [(40, 0, 0.15, 0), (39, 0, 0, 1), (50, 1, 0.3, 1), (50, 2, 0.5, 2), (50, 0, 0.51, -1), (24, 0, 0, -1), (50, 3, 0, -1)],
)
def test_difficulty(height, occlusion, truncation, grade):
    rectangle = np.array([[0, 10, 5, 10 + height]])
    objects = KittiObjects(("Car",), np.array([truncation]), np.array([occlusion]), np.zeros(1), rectangle, np.zeros((1, 7)))
    assert objects.difficulty.tolist() == [grade]


def test_label_file_round_trip(root):
    objects = read_label_file(root / "training/label_2/000000.txt")
    assert objects.scores is None and len(objects) == 4
    again = read_label_file(write_label_file(root / "again.txt", objects))
    assert again.names == objects.names
    for name in ("truncation", "occlusion", "alpha", "rectangles", "boxes_camera"):
        np.testing.assert_array_equal(getattr(again, name), getattr(objects, name))


def test_predictions_are_written_with_scores(root):
    camera = kitti_camera(P2, np.eye(3), FORWARD, (1242, 375))
    boxes = torch.tensor([[13.0, -1, -1, 4, 1.7, 1.5, 0.3], [-13.0, -1, -1, 4, 1.7, 1.5, 0.3], [30.0, 5, -1, 1, 1, 2, -2]])
    objects = objects_from_boxes(boxes, ["Car", "Car", "Pedestrian"], camera, torch.tensor([0.9, 0.8, 0.123456]))
    assert objects.names == ("Car", "Pedestrian")  # the second is behind the camera
    again = read_label_file(write_label_file(root / "000000.txt", objects))
    np.testing.assert_allclose(again.scores, [0.9, 0.123456], atol=1e-6)
    back = boxes_from_kitti(again.boxes_camera, camera.lidar_from_camera)
    np.testing.assert_allclose(back[:, :6], boxes[[0, 2], :6], atol=2e-4)
    np.testing.assert_allclose(wrap_angle(back[:, 6] - boxes[[0, 2], 6].numpy()), 0, atol=2e-4)
    x, z = again.boxes_camera[:, 0], again.boxes_camera[:, 2]
    np.testing.assert_allclose(wrap_angle(again.alpha - again.boxes_camera[:, 6] + np.arctan2(x, z)), 0, atol=2e-4)
    assert again.truncation.tolist() == [-1, -1] and again.occlusion.tolist() == [-1, -1]


def test_no_predictions(root):
    camera = kitti_camera(P2, np.eye(3), FORWARD, (1242, 375))
    path = write_label_file(root / "000000.txt", objects_from_boxes(np.zeros((0, 7)), [], camera, np.zeros(0)))
    assert path.read_text() == "" and len(read_label_file(path)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Car 0 0 0\n", "expected 15, or 16 with scores, columns, got 4 in line 1"),
        (LABELS + "Car 0 0 0\n", "expected 15 columns, got 4 in line 5"),
        (LABELS.replace("614.24", "wide"), "expected numbers after the class name, got .*'wide' in line 1"),
        (LABELS.replace("614.24", "nan"), "expected finite numbers, got one that is not for object 0"),
    ],
    ids=["columns", "changed_columns", "word", "nan"],
)
def test_damaged_labels(root, text, message):
    path = root / "training/label_2/000000.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"000000.txt: {message}"):
        KittiDataset(root, "train")[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("R0_rect: 1 0", "R0_rect: 1", "expected R0_rect: and 9 numbers, got 8 words"),
        ("Tr_velo_to_cam", "Tr_velo_cam", "expected Tr_velo_to_cam: and 12 numbers, got 0 words"),
        ("R0_rect: 1", "R0_rect: 9", "camera_from_lidar must be a rotation and a translation"),
    ],
)
def test_damaged_calibration(root, old, new, message):
    (root / "training/calib/000000.txt").write_text(CALIBRATION.replace(old, new))
    with pytest.raises(ValueError, match=f"000000.txt: .*{message}"):
        KittiDataset(root, "train")[0]


def test_missing_files(root):
    with pytest.raises(FileNotFoundError, match="no ImageSets/val.txt; without it only the splits trainval and test"):
        KittiDataset(root, "val")
    with pytest.raises(ValueError, match="split must be one of .* got 'training'"):
        KittiDataset(root, "training")
    with pytest.raises(FileNotFoundError, match=r"no folder training \(KITTI's folders"):
        KittiDataset(root / "training", "trainval")
    (root / "ImageSets/train.txt").write_text("000009\n")
    with pytest.raises(FileNotFoundError, match="no velodyne/000009.bin and no velodyne_reduced/000009.bin"):
        KittiDataset(root, "train")[0]
    (root / "training/label_2/000001.txt").unlink()
    with pytest.raises(FileNotFoundError, match="label_2/000001.txt: no such file"):
        KittiDataset(root, "trainval")[1]


# Frame of the real samples: points, and points in each labelled box (DontCare left out).
REAL = {
    "000000": (115_384, [376]),
    "000001": (120_268, [70, 9, 18]),
    "000002": (126_891, [1351, 67]),
    "000003": (113_110, [680]),
    "000008": (17_238, [1424, 1940, 878, 668, 53, 164]),
}
LEVEL_FROM_CAMERA = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])  # x forward, y left, z up


@pytest.mark.parametrize("frame", REAL)
def test_real_frames(samples, frame):
    dataset = KittiDataset(samples / "kitti", "trainval")
    index = dataset.frames.index(frame)
    sample, objects, camera = dataset[index], dataset.objects(index), dataset.camera(index)
    num_points, counts = REAL[frame]
    assert len(sample.points) == num_points
    rows = [row for row, name in enumerate(objects.names) if name != "DontCare"]
    assert len(rows) == len(sample.boxes) + len(sample.other_boxes) == len(counts)

    # Labels stand upright in the camera's frame: there the numbers are those of the table exactly.
    level_from_lidar = LEVEL_FROM_CAMERA @ camera.camera_from_lidar
    points = sample.points[:, :3].double().numpy() @ level_from_lidar[:3, :3].T + level_from_lidar[:3, 3]
    boxes = boxes_from_kitti(objects.boxes_camera[rows], LEVEL_FROM_CAMERA)
    assert count_points_in_boxes(torch.from_numpy(points), torch.from_numpy(boxes)).tolist() == counts

    # The LiDAR is tilted to the camera by up to 0.02 rad; boxes that stand upright in its frame differ in a few points.
    boxes = boxes_from_kitti(objects.boxes_camera[rows], camera.lidar_from_camera)
    found = count_points_in_boxes(sample.points[:, :3].double(), torch.from_numpy(boxes))
    assert (found - torch.tensor(counts)).abs().max() <= 7

    # The labels' rectangles were drawn by hand around the image of the box: within 2 pixels, or 11 for the near pedestrian.
    rectangles, visible = project_boxes(boxes, camera.image_from_lidar, camera.image_size)
    assert visible.all()
    assert np.abs(rectangles - objects.rectangles[rows]).max() < (11 if frame == "000000" else 2)


def test_real_test_frame(samples):
    dataset = KittiDataset(samples / "kitti", "test")
    assert len(dataset) == 1 and len(dataset[0].points) == 125_635 and len(dataset[0].boxes) == 0
