"""Part segmentation of point clouds."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from geo3d.data.shapes.samples import PartBatch
from geo3d.metrics.part_iou import PartIoU
from geo3d.tasks.base import Task


class PartSegmentation(Task):
    """Trains and evaluates a network that gives log-probabilities [B, N, num_parts] of points [B, N, 6] and categories [B].

    Loss: mean negative log-likelihood over all points and all parts. Metrics: instance and category mIoU, point accuracy.
    """

    name = "part_segmentation"
    monitor = "val/instance_miou"

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

    def training_step(self, batch: PartBatch, index: int) -> Tensor:
        loss = self._loss(self.network(batch.points, batch.categories), batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.categories))
        return loss

    def validation_step(self, batch: PartBatch, index: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: PartBatch, index: int) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: PartBatch, stage: str) -> None:
        log_probabilities = self.network(batch.points, batch.categories)
        self.iou.update(log_probabilities, batch.parts, batch.categories)
        self.log(f"{stage}/loss", self._loss(log_probabilities, batch), batch_size=len(batch.categories))

    def _loss(self, log_probabilities: Tensor, batch: PartBatch) -> Tensor:
        return F.nll_loss(log_probabilities.flatten(0, 1), batch.parts.flatten())

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        metrics = self.iou.compute()
        self.iou.reset()
        by_category = metrics.pop("iou_by_category")
        self.log_dict({f"{stage}/{name}": value for name, value in metrics.items()}, prog_bar=stage == "val")
        if stage == "test":
            for name, value in zip(self.category_names, by_category, strict=True):
                if value.isfinite():
                    self.log(f"test/iou/{name}", value)

    def description(self) -> dict[str, Any]:
        return {
            "category_names": self.category_names,
            "part_ranges": [[parts.start, parts.stop] for parts in self.part_ranges],
            "part_names": self.part_names,
        }
