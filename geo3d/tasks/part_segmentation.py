"""Part segmentation of point clouds."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from geo3d.data.shapes.samples import PartBatch
from geo3d.descriptions import PartSegmentationLabels
from geo3d.metrics.part_iou import PartIoU
from geo3d.tasks.base import Stage, Task


class PartSegmentation(Task):
    """Trains and evaluates a network that gives log-probabilities [B, N, num_parts] of points [B, N, 6] and categories [B].

    Loss: mean negative log-likelihood over all points and all parts. Metrics: instance and category mIoU, point accuracy.
    """

    name = "part_segmentation"
    monitor = "val/instance_miou"
    shown = ("category_miou", "point_accuracy")

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.category_names = list(data.category_names)
        self.part_ranges = list(data.part_ranges)
        self.part_names = list(data.part_names)
        parts = self.part_ranges[-1].stop
        network: Any = self.network
        if network.classify.out_features != parts or network.num_categories != len(self.category_names):
            raise ValueError(
                f"PartSegmentation: the network has num_parts {network.classify.out_features} and num_categories "
                f"{network.num_categories}, but the data has {parts} and {len(self.category_names)}; set "
                "model.init_args.network.init_args.num_parts and .num_categories"
            )
        self.iou = PartIoU(self.part_ranges).to(self.device)

    def outputs(self, batch: PartBatch) -> Tensor:
        return self.network(batch.points, batch.categories)

    def losses(self, outputs: Tensor, batch: PartBatch) -> dict[str, Tensor]:
        return {"loss": F.nll_loss(outputs.flatten(0, 1), batch.parts.flatten())}

    def batch_size(self, batch: PartBatch) -> int:
        return len(batch.categories)

    def update_metrics(self, outputs: Tensor, batch: PartBatch) -> None:
        self.iou.update(outputs, batch.parts, batch.categories)

    def compute_metrics(self, stage: Stage) -> dict[str, Tensor]:
        """Also `iou/NAME` of each category that occurred, in a test."""
        metrics = self.iou.compute()
        self.iou.reset()
        by_category = metrics.pop("iou_by_category")
        if stage == "test":
            named = zip(self.category_names, by_category, strict=True)
            metrics |= {f"iou/{name}": value for name, value in named if value.isfinite()}
        return metrics

    def labels(self) -> PartSegmentationLabels:
        ranges = tuple((parts.start, parts.stop) for parts in self.part_ranges)
        return PartSegmentationLabels(tuple(self.category_names), tuple(self.part_names), ranges)
