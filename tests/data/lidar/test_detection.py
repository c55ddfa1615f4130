"""Detection data: packed batches, what training and evaluation do to a frame, resampling, and the data modules."""

from __future__ import annotations

import pickle
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from geo3d.data.lidar.detection import DetectionDataset, class_balanced_indices, collate_lidar
from geo3d.data.lidar.gt_sampling import GroundTruthSampler, GroundTruthSampling, build_database
from geo3d.data.lidar.kitti_labels import objects_from_boxes, write_label_file
from geo3d.data.lidar.modules import Kitti, NuScenes, Waymo
from geo3d.data.lidar.sweeps import LidarSample
from geo3d.data.lidar.transforms import LidarAugmentation
from geo3d.geometry.cameras import kitti_camera
from geo3d.ops import count_points_in_boxes

RANGE = (-20.0, -20.0, -3.0, 20.0, 20.0, 3.0)
CLASSES = ("Car", "Pedestrian")


def frame(index: int, boxes: int = 2, points: int = 40) -> LidarSample:
    """Cars of 3 x 2 x 1.5 m in a row, the last one without points; points of the first rows lie in the cars."""
    generator = np.random.default_rng(index)
    table = torch.zeros(boxes, 7)
    table[:, 0], table[:, 1], table[:, 3:6] = 6 * torch.arange(boxes) - 8, index, torch.tensor([3, 2, 1.5])
    cloud = torch.from_numpy(generator.uniform((-25, -25, -2, 0), (25, 25, 4, 1), (points, 4))).float()
    cloud[: max(boxes - 1, 0) * 6, :3] = table[: boxes - 1, :3].repeat_interleave(6, 0) if boxes > 1 else 0
    return LidarSample(
        cloud,
        ("intensity",),
        f"frame-{index}",
        Path("f.bin"),
        boxes=table,
        labels=torch.zeros(boxes, dtype=torch.int64),
        class_names=CLASSES,
        num_points=torch.tensor([6] * (boxes - 1) + [0] * (boxes > 0), dtype=torch.int64)[:boxes],
    )


class Frames:
    class_names = CLASSES
    features = ("intensity",)

    def __init__(self, boxes=(2, 3, 0, 2)) -> None:
        self.samples = [frame(index, count) for index, count in enumerate(boxes)]
        self.frames = [sample.frame for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> LidarSample:
        return self.samples[index]


def test_batches_are_packed():
    samples = [frame(0, 2), frame(1, 0, points=0), frame(2, 3, points=17)]
    batch = collate_lidar(samples)
    assert batch.batch_size == 3 and batch.frames == ("frame-0", "frame-1", "frame-2")
    assert batch.points.shape == (57, 4) and batch.batch_index.tolist() == [0] * 40 + [2] * 17
    assert batch.box_batch_index.tolist() == [0, 0, 2, 2, 2] and batch.labels.dtype == torch.int64
    assert batch.num_points.tolist() == [6, 0, 6, 6, 0] and batch.difficulty.tolist() == [-1] * 5
    for index, sample in enumerate(samples):
        assert torch.equal(batch.points[batch.batch_index == index], sample.points)
        assert torch.equal(batch.boxes[batch.box_batch_index == index], sample.boxes)
    moved = batch.to("meta")
    assert moved.points.device.type == "meta" and moved.frames == batch.frames and moved.batch_size == 3


def test_batches_need_samples_of_one_kind():
    with pytest.raises(ValueError, match="collate_lidar: samples must be at least one"):
        collate_lidar([])
    other = LidarSample(torch.zeros(1, 5), ("intensity", "time"), "0", Path("0"))
    with pytest.raises(
        ValueError, match=r"with the same columns, got \[\(\('intensity',\), 7\), \(\('intensity', 'time'\), 7\)\]"
    ):
        collate_lidar([frame(0), other])


def test_evaluation_keeps_all_boxes_and_the_points_in_range():
    frames = Frames()
    frames.samples[0].boxes[0, 0] = 500
    dataset = DetectionDataset(frames, RANGE)
    sample = dataset[0]
    assert torch.equal(sample.boxes, frames[0].boxes)
    wanted = frames[0].points[(frames[0].points[:, :2].abs() <= 20).all(1)]
    assert not torch.equal(sample.points, wanted)  # shuffled
    assert torch.equal(sample.points[sample.points[:, 3].argsort()], wanted[wanted[:, 3].argsort()])
    assert torch.equal(dataset[0].points, sample.points)
    assert len(dataset[2].boxes) == 0
    assert float(DetectionDataset(frames, RANGE, mask_z=True)[0].points[:, 2].max()) <= 3


def test_training_leaves_out_boxes_without_points_and_outside():
    frames = Frames((3,))
    frames.samples[0].boxes[0, 0] = -20.5
    sample = DetectionDataset(frames, RANGE, training=True)[0]
    assert torch.equal(sample.boxes, frames[0].boxes[1:2]) and sample.num_points.tolist() == [6]


def test_frames_without_boxes_are_replaced_in_training():
    dataset = DetectionDataset(Frames(), RANGE, training=True)
    drawn = {dataset[2, epoch].frame for epoch in range(20)}
    assert drawn == {"frame-0", "frame-1", "frame-3"}
    assert len(DetectionDataset(Frames((0, 0)), RANGE, training=True)[0].boxes) == 0  # nothing else to draw


def test_augmentation_depends_on_epoch_and_item():
    dataset = DetectionDataset(Frames(), RANGE, training=True, augment=LidarAugmentation())
    first = dataset[0, 0]
    assert torch.equal(dataset[0, 0].points, first.points) and torch.equal(dataset[0, 0].boxes, first.boxes)
    assert not torch.equal(dataset[0, 1].boxes, first.boxes)
    counts = count_points_in_boxes(first.points[:, :3].contiguous(), first.boxes * torch.tensor([1, 1, 1, 1.01, 1.01, 1.01, 1]))
    assert int(counts[0]) >= 6


def test_augmentations_stop_before_the_end(tmp_path):
    sampler = GroundTruthSampler(build_database(Frames(), tmp_path / "db"), {"Car": 3})
    ranges = LidarAugmentation(disabled=("gt_sampling", "flip"), disabled_epochs=2)
    dataset = DetectionDataset(Frames(), RANGE, training=True, augment=ranges, sampler=sampler, epochs=6)
    assert [dataset.without(epoch) for epoch in (0, 3, 4, 5)] == [(), (), ranges.disabled, ranges.disabled]
    assert len(dataset[0, 3].boxes) > 1 and len(dataset[0, 4].boxes) == 1
    everything = LidarAugmentation(disabled_epochs=1)
    dataset = DetectionDataset(Frames(), RANGE, training=True, augment=everything, epochs=1)
    assert torch.equal(dataset[0, 0].boxes, Frames()[0].boxes[:1])


def test_indices_repeat_frames():
    dataset = DetectionDataset(Frames(), RANGE, training=True, indices=np.array([3, 3, 1]))
    assert [dataset[index].frame for index in range(len(dataset))] == ["frame-3", "frame-3", "frame-1"]


def test_class_balanced_indices():
    sets = [{0}] * 90 + [{0, 1}] * 9 + [{2}] + [set()] * 10  # classes in 99, 9 and 1 frames
    rows = class_balanced_indices(sets, 4, seed=1)
    share = (99 + 9 + 1) // 4
    assert len(rows) == 3 * share  # nothing of the fourth class
    assert set(rows[share : 2 * share]) <= set(range(90, 99)) and set(rows[2 * share :]) == {99}
    assert np.array_equal(rows, class_balanced_indices(sets, 4, seed=1))
    assert not np.array_equal(rows, class_balanced_indices(sets, 4, seed=2))
    assert class_balanced_indices([set()], 3).shape == (0,)


FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
P2 = np.array([[700, 0, 600, 45], [0, 700, 180, 0.2], [0, 0, 1, 0.003]])


@pytest.fixture
def kitti_root(tmp_path, monkeypatch):
    """Six frames with a car and a pedestrian each; four to train, two to validate."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    root = tmp_path / "kitti"
    camera = kitti_camera(P2, np.eye(3), FORWARD, (1242, 375))
    for name in ("velodyne", "label_2", "calib"):
        (root / "training" / name).mkdir(parents=True)
    (root / "ImageSets").mkdir()
    for index in range(6):
        boxes = np.array([[12 + 6 * index, 3, -1, 4, 1.7, 1.5, 0.2 * index], [20.0, -6 + index, -0.8, 0.8, 0.6, 1.8, 1]])
        objects = objects_from_boxes(boxes, ["Car", "Pedestrian"], camera, truncation=[0, 0], occlusion=[0, 1])
        write_label_file(root / "training/label_2" / f"{index:06d}.txt", objects)
        matrices = {"P2": P2, "R0_rect": np.eye(3), "Tr_velo_to_cam": FORWARD}
        lines = [f"{key}: {' '.join(map(str, matrix.ravel()))}\n" for key, matrix in matrices.items()]
        (root / "training/calib" / f"{index:06d}.txt").write_text("".join(lines))
        points = np.random.default_rng(index).uniform((0, -30, -2, 0), (60, 30, 0, 1), (300, 4))
        points[:40, :3] = boxes[0, :3] + np.random.default_rng(index).uniform(-0.4, 0.4, (40, 3))
        points[40:60, :3] = boxes[1, :3] + np.random.default_rng(index).uniform(-0.2, 0.2, (20, 3))
        (root / "training/velodyne" / f"{index:06d}.bin").write_bytes(points.astype("<f4").tobytes())
    (root / "ImageSets/train.txt").write_text("000000\n000001\n000002\n000003\n")
    (root / "ImageSets/val.txt").write_text("000004\n000005\n")
    return root


class Recorder(lightning.LightningModule):
    """Keeps the numbers of boxes of its batches by epoch, and trains on nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[int, list[int]] = {}
        self.validated: list[tuple[str, ...]] = []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_index):
        self.boxes.setdefault(self.current_epoch, []).extend(torch.bincount(batch.box_batch_index, minlength=2).tolist())
        return self.weight.sum()

    def validation_step(self, batch, batch_index):
        self.validated.append(batch.frames)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_training_with_lightning(kitti_root):
    data = Kitti(
        str(kitti_root),
        camera_view_only=False,
        batch_size=2,
        test_batch_size=2,
        augment=LidarAugmentation(flip_axes=("x",), rotation=0.1, translation=0, disabled_epochs=1),
        gt_sampling=GroundTruthSampling({"Car": 4, "Pedestrian": 1}),
    )
    module = Recorder()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", num_sanity_val_steps=0, **options)
    trainer.fit(module, data)
    assert data.database_folder().is_dir() and data.database_folder().parent.name == "gt_database"
    assert {epoch: len(counts) for epoch, counts in module.boxes.items()} == {0: 4, 1: 4, 2: 4}
    assert max(module.boxes[0]) > 2 and max(module.boxes[1]) > 2
    assert module.boxes[2] == [2, 2, 2, 2]  # the last epoch pastes nothing
    assert module.validated == [("000004", "000005")] * 3
    assert data.num_classes == 3 and data.frames("val")[0].names == ["Car", "Pedestrian"]


def test_workers_change_nothing(kitti_root):
    epochs = []
    for workers in (0, 2):
        data = Kitti(str(kitti_root), camera_view_only=False, batch_size=2, num_workers=workers)
        data.prepare_data()
        epochs.append(list(data.train_dataloader()))
    for first, second in zip(*epochs, strict=True):
        assert first.frames == second.frames
        assert torch.equal(first.points, second.points) and torch.equal(first.boxes, second.boxes)


def test_waymo(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    folder = tmp_path / "waymo_processed_data_v0_5_0/segment-1"
    folder.mkdir(parents=True)
    (tmp_path / "ImageSets").mkdir()
    for name in ("train", "val"):
        (tmp_path / f"ImageSets/{name}.txt").write_text("segment-1\n")
    infos = []
    for index in range(8):
        rows = np.zeros((30, 6), np.float32)
        rows[:20, :3] = np.array([10 + 5 * index, 0, 1]) + np.random.default_rng(index).uniform(-0.4, 0.4, (20, 3))
        np.save(folder / f"{index:04d}.npy", rows)
        annos = {
            "name": np.array(["Vehicle", "Sign"]),
            "gt_boxes_lidar": np.array([[10 + 5 * index, 0, 1, 4, 2, 2, 0], [1, 1, 1, 1, 1, 1, 0]]),
        }
        annos |= {"num_points_in_gt": np.array([20, 1]), "difficulty": np.array([0, 0])}
        infos.append({"point_cloud": {"sample_idx": index}, "annos": annos})
    (folder / "segment-1.pkl").write_bytes(pickle.dumps(infos))
    data = Waymo(str(tmp_path), batch_size=2, val_every=4)
    data.prepare_data()
    assert len(data.dataset("val")) == 2
    sampler = data.dataset("train").sampler
    assert sampler.candidates["Vehicle"].tolist() == [0, 1]  # of every fourth frame
    batch = next(iter(data.train_dataloader()))
    assert batch.points.shape[1] == 5 and batch.batch_size == 2 and set(batch.labels.tolist()) == {0}


def test_real_frames_keep_their_points_in_training(samples, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path))
    data = Kitti(str(samples / "kitti"), train_split="trainval", batch_size=2)
    data.prepare_data()
    dataset, objects = data.dataset("train"), data.dataset("train").sampler
    # Of nine cars, one is lower than 25 pixels and two are cut off and their occlusion is unknown: these have no grade.
    assert len(objects.boxes) == 11 and len(objects.candidates["Car"]) == 9 - 3
    sample = dataset[0, 0]  # a pedestrian, 376 points in the image, and cars of other frames
    assert len(sample.boxes) > 2 and (sample.points[:, 0] >= 0).all()
    found = count_points_in_boxes(sample.points[:, :3].contiguous(), sample.boxes).tolist()
    for count, name in zip(found, sample.names, strict=True):
        kept = objects.num_points[objects.candidates[name]]
        assert np.abs(kept - count).min() <= 0.02 * count  # rounding moves points over faces


def test_nuscenes(samples, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path))
    data = NuScenes(str(samples / "nuscenes"), num_sweeps=1, gt_sampling=None, batch_size=1)
    dataset = data.dataset("train")
    assert set(dataset.indices.tolist()) == {0} and len(dataset) == 8  # its one frame, once for each class in it
    sample = dataset[0]
    assert sample.boxes.shape[1] == 9 and sample.features == ("intensity", "time")
    assert (sample.boxes[:, :2].abs() <= 54).all() and sample.num_points.min() > 0
    with pytest.raises(ValueError, match="expected scenes of the split 'val', got none"):
        data.frames("val")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"point_range": (0, 0, 0, 1, 1)}, "Kitti: point_range must be x y z of both ends"),
        ({"gt_sampling": GroundTruthSampling({"Van": 1})}, r"Kitti: groups takes classes of \['Car', .*, got 'Van'"),
        ({"gt_sampling": GroundTruthSampling({"Car": 1}, {"Van": 1})}, "Kitti: min_points takes classes of"),
    ],
)
def test_option_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Kitti("root", **options)
