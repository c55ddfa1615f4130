"""Figures of a test that two processes share are those of one process."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torchmetrics import Metric

from geo3d.data.lidar.kitti_labels import KittiObjects
from geo3d.metrics.box_recall import BoxRecall
from geo3d.metrics.kitti import KittiAveragePrecision
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
    if isinstance(metric, BoxRecall):
        metric.update([true], [found])
    elif isinstance(metric, ReconstructionScores):
        occupancy = torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(frame))
        metric.update(occupancy[0], occupancy[1] > 0.5, torch.tensor([0]), torch.tensor([frame]))
    elif isinstance(metric, WaymoAveragePrecision):
        labels = torch.arange(len(true)) % 3
        metric.update(true, labels, torch.ones(len(true)), found, labels, scores)
    else:
        metric.update([kitti(true)], [kitti(found, scores)])


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


KINDS = {"kitti": KittiAveragePrecision, "waymo": WaymoAveragePrecision, "recall": BoxRecall, "voxels": Voxels}


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
