"""Figures of a test that two processes share are those of one process."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torchmetrics import Metric

from geo3d.data.lidar.kitti_labels import KittiObjects
from geo3d.data.lidar.nuscenes import NuScenesObjects
from geo3d.metrics.body import BodyErrors
from geo3d.metrics.box_recall import BoxRecall
from geo3d.metrics.hand_boxes import HandBoxScores
from geo3d.metrics.hands import HandErrors, RootErrors
from geo3d.metrics.kitti import KittiAveragePrecision
from geo3d.metrics.nuscenes import NuScenesDetectionScore
from geo3d.metrics.nuscenes_results import NuScenesDetections
from geo3d.metrics.voxels import ReconstructionScores
from geo3d.metrics.waymo import WaymoAveragePrecision

FRAMES = 7  # so that one process has one more


def boxes_of(frame: int) -> tuple[Tensor, Tensor]:
    """True boxes of a frame and predictions near some of them; none in the fourth."""
    generator = torch.Generator().manual_seed(frame)
    count = 0 if frame == 3 else 4 + frame
    true = torch.cat(
        [20.0 * torch.arange(count)[:, None], torch.zeros(count, 2), torch.tensor([[4, 1.6, 1.5, 0]]).expand(count, 4)], 1
    )
    found = true.clone()
    found[:, 0] += 2 * torch.rand(count, generator=generator)
    return true, found


def update(metric: Metric, frame: int) -> None:
    true, found = boxes_of(frame)
    scores = torch.linspace(0.9, 0.3, len(found)) if len(found) else torch.zeros(0)
    generator = torch.Generator().manual_seed(frame)
    if isinstance(metric, BoxRecall):
        metric.update([true], [found])
    elif isinstance(metric, ReconstructionScores):
        occupancy = torch.rand(2, 1, 4, 4, 4, generator=generator)
        metric.update(occupancy[0], occupancy[1] > 0.5, torch.tensor([0]), torch.tensor([frame]))
    elif isinstance(metric, WaymoAveragePrecision):
        labels = torch.arange(len(true)) % 3
        metric.update(true, labels, torch.ones(len(true)), found, labels, scores)
    elif isinstance(metric, HandBoxScores):  # the second process, which has the odd frames, finds nothing
        kept, hands, sides = slice(0 if frame % 2 else None), true[:, [0, 1, 3, 3]], torch.arange(len(true)) % 2
        metric.update(found[kept][:, [0, 1, 3, 3]], sides[kept], scores[kept] - 0.01 * frame, hands, sides)
    elif isinstance(metric, NuScenesDetectionScore):
        metric.update(frame, *nuscenes(true, found, scores))
    elif isinstance(metric, BodyErrors):
        vertices = torch.rand(2, 1, 30, 3, generator=generator)
        labels = torch.arange(8)[None] % 3
        metric.update(
            tuple(vertices),
            tuple(vertices[:, :, :4]),
            torch.rand(1, 8, 3, generator=generator),
            labels,
            torch.tensor([frame % 2]),
        )
    elif isinstance(metric, HandErrors):  # the hands of the fourth frame have no meshes, and of the sixth no joints
        joints, vertices = torch.rand(2, 1, 21, 3, generator=generator), torch.rand(2, 1, 40, 3, generator=generator)
        known = slice(0 if frame in (3, 5) else None)
        metric.update(joints[0, known], joints[1, known], vertices[0, known], vertices[1, known])
        metric.update_keypoints(joints[0, ..., :2], joints[1, ..., :2], torch.ones(1, 21))
    elif isinstance(metric, RootErrors):
        metric.update(*torch.rand(2, frame % 3, 3, generator=generator))
    else:
        metric.update([kitti(true)], [kitti(found, scores)])


def nuscenes(true: Tensor, found: Tensor, scores: Tensor) -> tuple[NuScenesObjects, NuScenesDetections]:
    """Boxes within reach of the car as objects and detections of nuScenes, cars and pedestrians in turn."""
    names = np.array(["car", "pedestrian"])[np.arange(len(true)) % 2]
    boxes = [torch.cat([each[:, :1] / 5, each[:, 1:], torch.zeros(len(each), 2)], 1).double().numpy() for each in (true, found)]
    attributes = np.full(len(true), "", dtype="<U30")
    objects = NuScenesObjects(boxes[0], names, attributes, np.ones(len(true), int), np.zeros(3))
    return objects, NuScenesDetections(boxes[1], names, attributes, scores.double().numpy())


def kitti(boxes: Tensor, scores: Tensor | None = None) -> KittiObjects:
    """Boxes as objects of KITTI, in its camera's frame."""
    x, zeros = boxes[:, 0].numpy().astype(float), np.zeros(len(boxes))
    rectangles = np.stack([x, zeros + 100, x + 10, zeros + 150], 1)
    placed = np.stack([x, zeros + 1.5, zeros + 20, zeros + 4, zeros + 1.5, zeros + 1.6, zeros], 1)
    names = ("Car",) * len(boxes)
    return KittiObjects(
        names, zeros, zeros.astype(int), zeros, rectangles, placed, None if scores is None else scores.double().numpy()
    )


class Voxels(ReconstructionScores):
    """Scores without those by category, which are no single figures."""

    def __init__(self) -> None:
        super().__init__(1)

    def compute(self) -> dict[str, Tensor]:
        return {name: value for name, value in super().compute().items() if value.ndim == 0}


class Bodies(BodyErrors):
    """Errors of two groups of bodies."""

    def __init__(self) -> None:
        super().__init__(("even", "odd"))


KINDS = {
    "kitti": KittiAveragePrecision,
    "nuscenes": NuScenesDetectionScore,
    "waymo": WaymoAveragePrecision,
    "recall": BoxRecall,
    "voxels": Voxels,
    "hand_boxes": HandBoxScores,
    "hands": HandErrors,
    "roots": RootErrors,
    "bodies": Bodies,
}


def figures(frames: range) -> dict[str, dict[str, float]]:
    results = {}
    for name, kind in KINDS.items():
        metric = kind()
        for frame in frames:
            update(metric, frame)
        results[name] = {key: float(value) for key, value in metric.compute().items()}
    return results


def share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(figures(range(rank, FRAMES, 2)), file)
    distributed.destroy_process_group()


def test_two_processes_give_the_figures_of_one(tmp_path):
    if not distributed.is_available():
        pytest.skip("this PyTorch has no distributed package")
    multiprocessing.spawn(share, (str(tmp_path),), nprocs=2)
    expected = figures(range(FRAMES))
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, nan_ok=True), name
    assert 0 < expected["kitti"]["Car_3d_moderate_R40"] < 1 and 0 < expected["waymo"]["mAP_L1"] < 1
    assert 0 < expected["voxels"]["iou"] < 1
    assert 0 < expected["recall"]["recall_0.5"] < 1
    assert 0 < expected["nuscenes"]["mAP"] < 1 and 0 < expected["hand_boxes"]["average_precision"] < 1
    assert expected["bodies"]["v2v_cm/odd"] != expected["bodies"]["v2v_cm/even"]
