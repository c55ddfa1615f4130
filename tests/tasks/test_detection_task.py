"""The task of detection: it learns a scene, its schedule, frames with nothing in them, and the tools on a folder of KITTI."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from street_frames import RANGE, write_frames

import geo3d
from geo3d.data import Kitti, LidarBatch
from geo3d.descriptions import SweepInput
from geo3d.metrics.box_recall import BoxRecall
from geo3d.models.dsvt import DSVTCenter, DSVTTransFusion, untrained_in_paper
from geo3d.tasks import Detection
from geo3d.tasks.schedules import OneCycle
from geo3d.tools import test as test_tool
from geo3d.tools import train
from geo3d.zoo.weights import read_info

SMALL = {
    "num_classes": 3,
    "in_features": 4,
    "point_range": tuple(RANGE),
    "voxel_size": (0.64, 0.64, 4.0),
    "stages": [{"blocks": 1, "set_size": 16, "window": (8, 8, 1), "shift": (4, 4, 0)}],
    "channels": 16,
    "heads": 2,
    "bev_blocks": (1, 1),
    "bev_strides": (1, 2),
    "bev_channels": (16, 16),
    "bev_up_strides": (1, 2),
    "bev_up_channels": (16, 16),
}
DECODER = {"nms_thresholds": [0.2, 0.2, 0.2], "score_threshold": 0.2, "threshold_raw_scores": True}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("kitti"))


@pytest.fixture(autouse=True)
def _one_thread():
    """The networks are too small for two, which would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path_factory.getbasetemp() / "geo3d-data"))


def center(**options) -> DSVTCenter:
    return DSVTCenter(**{**SMALL, "head_channels": 16, **options})


def transfusion() -> DSVTTransFusion:
    return DSVTTransFusion(
        **SMALL, any_height=False, num_proposals=20, hidden=16, key_radius=2, crowded_classes=(), velocity=False
    )


def data(root, **options) -> Kitti:
    options = {"point_range": RANGE, "batch_size": 2, "test_batch_size": 2, "augment": None, "gt_sampling": None, **options}
    return Kitti(str(root), **options)


def trainer(**options):
    import lightning

    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def nothing(batch_size: int = 2) -> LidarBatch:
    none = torch.zeros(0, dtype=torch.int64)
    return LidarBatch(torch.zeros(0, 4), none, torch.zeros(0, 7), none, none, none, none, batch_size, ("a", "b")[:batch_size])


def only(batch: LidarBatch, frame: int) -> LidarBatch:
    """The batch, with the objects and the points of one frame alone."""
    points, boxes = batch.batch_index == frame, batch.box_batch_index == frame
    return LidarBatch(
        batch.points[points],
        batch.batch_index[points],
        batch.boxes[boxes],
        batch.labels[boxes],
        batch.box_batch_index[boxes],
        batch.num_points[boxes],
        batch.difficulty[boxes],
        batch.batch_size,
        batch.frames,
    )


def test_learns_a_scene_and_finds_its_boxes(root):
    torch.manual_seed(0)
    task = Detection(center(), decoder=DECODER)
    module = data(root)
    batch = next(iter(module.val_dataloader()))
    optimizer = torch.optim.AdamW(task.network.parameters(), 3e-3)
    losses = []
    for step in range(70):
        optimizer.param_groups[0]["lr"] = OneCycle(0.3, 10).rate(step, 70, 6e-3)
        terms = task.losses(task.outputs(batch), batch)
        losses.append(float(terms["loss"].detach()))
        assert losses[-1] == pytest.approx(sum(float(v.detach()) for n, v in terms.items() if n != "loss"), rel=1e-5)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]
    found = task.predict_step(batch, 0)
    recall = BoxRecall()
    recall.update([batch.boxes[batch.box_batch_index == b] for b in range(2)], [each.boxes for each in found])
    assert recall.compute()["recall_0.5"] == 1
    for b, each in enumerate(found):
        assert sorted(each.labels.tolist()) == sorted(batch.labels[batch.box_batch_index == b].tolist())


@pytest.mark.parametrize("network", [center, transfusion])
@pytest.mark.parametrize("which", ["nothing", "first", "last"])
def test_frames_with_nothing_in_them(network, which, root):
    torch.manual_seed(0)
    task = Detection(network(), decoder={"nms_thresholds": [0.2, 0.2, 0.2]})
    if which == "nothing":
        batch = nothing()
    else:
        batch = only(next(iter(data(root).val_dataloader())), 0 if which == "first" else 1)
    task.train()
    terms = task.losses(task.outputs(batch), batch)
    terms["loss"].backward()
    assert all(value.isfinite() for value in terms.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.network.parameters())
    assert len(task.eval().predict_step(batch, 0)) == 2


def test_objects_out_of_range_are_not_asked_for(root):
    task = Detection(center())
    batch = next(iter(data(root).val_dataloader()))
    batch.boxes[0, 0] = 500.0
    assert len(task._gt(batch)) == len(batch.boxes) - 1


def test_one_cycle():
    """T = 100 steps, the highest rate at 10: values of the half cosines worked out by hand."""
    cycle, rate = OneCycle(rise=0.1, start=100), 3e-3
    assert cycle.rate(0, 100, rate) == pytest.approx(3e-5) and cycle.momentum_at(0, 100) == pytest.approx(0.95)
    assert cycle.rate(5, 100, rate) == pytest.approx((3e-5 + 3e-3) / 2) and cycle.momentum_at(5, 100) == pytest.approx(0.9)
    assert cycle.rate(10, 100, rate) == pytest.approx(3e-3) and cycle.momentum_at(10, 100) == pytest.approx(0.85)
    assert cycle.rate(55, 100, rate) == pytest.approx((3e-3 + 3e-9) / 2) and cycle.momentum_at(55, 100) == pytest.approx(0.9)
    assert cycle.rate(100, 100, rate) == cycle.rate(130, 100, rate) == pytest.approx(3e-9)
    assert cycle.rate(0, 1, rate) == rate  # no room to rise


def test_steps_have_the_rate_and_momentum_of_the_schedule(root):
    seen = []

    class Watched(Detection):
        def optimizer_step(self, epoch, index, optimizer, closure):
            group = optimizer.param_groups[0]
            seen.append((group["lr"], group["betas"]))
            super().optimizer_step(epoch, index, optimizer, closure)

    cycle = OneCycle(0.5, 10)
    task = Watched(center(), lr=1e-2, weight_decay=0.1, schedule=cycle, train_all=False)
    before = {name: parameter.clone() for name, parameter in task.network.named_parameters()}
    trainer(max_epochs=2, limit_val_batches=0).fit(task, data(root, batch_size=1))
    steps = len(seen)
    assert steps == 10
    for step, (rate, betas) in enumerate(seen):
        assert rate == pytest.approx(cycle.rate(step, steps, 1e-2))
        assert betas == (pytest.approx(cycle.momentum_at(step, steps)), 0.99)
    untouched = {name for name, parameter in task.network.named_parameters() if torch.equal(parameter, before[name])}
    assert untouched == set(untrained_in_paper(task.network)) != set()


def test_decay_is_decoupled_and_of_all_parameters():
    task = Detection(center(), lr=1e-2, weight_decay=0.05)
    task.trainer = type("Steps", (), {"max_epochs": -1, "max_steps": 7})()
    optimizer = task.configure_optimizers()["optimizer"]
    [group] = optimizer.param_groups
    assert len(group["params"]) == len(list(task.network.parameters())) and group["weight_decay"] == 0.05
    norm = task.network.bev.levels[0][0].norm1.weight
    for parameter in task.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before, rate = norm.clone(), group["lr"]
    optimizer.step()
    torch.testing.assert_close(norm, before * (1 - 0.05 * rate), rtol=1e-6, atol=0)


@pytest.mark.parametrize("images", [True, False])
def test_validation_of_perfect_boxes(images, tmp_path):
    """Boxes as labelled are all found: (n - 1) / 40 for n objects, as KITTI counts; frames without images count too."""
    count = 6
    root = write_frames(tmp_path, count, images)
    module = data(root, camera_view_only=images)

    class Perfect(Detection):
        def validation_step(self, batch, index):
            found = [self._perfect(batch, b) for b in range(batch.batch_size)]
            for metric in self._metrics():
                metric.update(batch, found)

        def _perfect(self, batch, b):
            mine = batch.box_batch_index == b
            from geo3d.models.detection import Detections

            return Detections(batch.boxes[mine], torch.linspace(0.9, 0.8, int(mine.sum())), batch.labels[mine])

    [results] = trainer().validate(Perfect(center(), metrics=["kitti", "recall"]), module, verbose=False)
    assert results["val/recall_0.7"] == 1
    assert results["val/Car_3d_moderate_R40"] == pytest.approx((count - 1) / 40)
    assert results["val/mean_3d_moderate_R40"] == pytest.approx((count - 1) / 40)


def test_recall_by_hand():
    true = torch.tensor([[0, 0, 0, 4, 2, 2, 0], [10, 0, 0, 4, 2, 2, 0.0]])
    shifted = true[:1] + torch.tensor([1.0, 0, 0, 0, 0, 0, 0])  # IoU 3 / 5
    recall = BoxRecall()
    recall.update([true, true[:0]], [shifted, shifted])
    assert recall.compute() == {"recall_0.3": 0.5, "recall_0.5": 0.5, "recall_0.7": 0.0}
    with pytest.raises(ValueError, match="same frames, got 1 and 0"):
        recall.update([true], [])
    recall.reset()
    assert math.isnan(recall.compute()["recall_0.5"])


@pytest.mark.parametrize(
    ("options", "network", "message"),
    [
        ({}, {"num_classes": 4}, "num_classes 4, but the data has 3 classes"),
        ({}, {"in_features": 5}, "x, y, z, intensity; set .*in_features to 4"),
        ({}, {"point_range": (0.0, -10.24, -3.0, 30.72, 10.24, 1.0)}, "point_range is .*30.72"),
        ({"decoder": {"nms_thresholds": [0.2]}}, {}, "3 classes, but the decoder 1 nms_thresholds"),
        ({"metrics": []}, {}, "metrics must name at least one"),
        ({"loss": {"wings": 2}}, {}, "CenterLoss has no option 'wings'; it takes heatmap_weight"),
        ({"decoder": {"nms": 0.1}}, {}, "CenterDecoder has no option 'nms'"),
    ],
)
def test_what_does_not_fit(options, network, message, root):
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=1).fit(Detection(center(**network), **options), data(root))


def test_train_resume_test_and_load(root, tmp_path, capsys):
    config = tmp_path / "small.yaml"
    arguments = {key: value for key, value in SMALL.items() if key not in ("num_classes", "in_features", "point_range")}
    network = {"class_path": "geo3d.models.dsvt.DSVTCenter", "init_args": {**arguments, "head_channels": 16}}
    augment = {"flip_axes": ["x"], "translation": 0.0}
    config.write_text(
        json.dumps(
            {
                "trainer": {"accelerator": "cpu", "gradient_clip_val": 10},
                "model": {
                    "class_path": "geo3d.tasks.Detection",
                    "init_args": {"metrics": ["kitti", "recall"], "network": network, "decoder": DECODER},
                },
                "data": {
                    "class_path": "geo3d.data.Kitti",
                    "init_args": {
                        "root": str(root),
                        "point_range": RANGE,
                        "batch_size": 2,
                        "augment": augment,
                        "gt_sampling": {"groups": {"Car": 2}},
                    },
                },
            }
        )
    )
    options = ["--out", str(tmp_path), "--name", "run"]
    assert train.main([str(config), *options, "--trainer.max_epochs=1"]) == 0
    assert train.main([str(config), *options, "--trainer.max_epochs=2", "--resume", "last"]) == 0
    weights = tmp_path / "run" / "weights.safetensors"
    info = read_info(weights)
    assert info.task == "detection" and info.training["epochs"] == 2
    assert info.labels.class_names == ("Car", "Pedestrian", "Cyclist")
    assert info.labels.decoder["score_threshold"] == 0.2
    assert info.preprocessing == SweepInput("kitti", ("intensity",), camera_view_only=True)
    capsys.readouterr()
    assert test_tool.main([str(config), *options, "--json", f"{tmp_path}/result.json"]) == 0
    result, out = json.loads((tmp_path / "result.json").read_text()), capsys.readouterr().out
    for name in ("test/Car_3d_moderate_R40", "test/Cyclist_bev_hard_R40", "test/recall_0.5"):
        assert 0 <= result[name] <= 1 and name in out
    objects = geo3d.load(weights)(root / "training/velodyne/000000.bin")
    assert objects.detections.boxes.shape[1] == 7 and np.isfinite(objects.detections.boxes.numpy()).all()
