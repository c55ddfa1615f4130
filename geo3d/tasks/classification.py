"""Classification of point clouds."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from geo3d.data.shapes.samples import ClassificationBatch
from geo3d.metrics.classification import class_accuracy, overall_accuracy
from geo3d.tasks.base import Task


class Classification(Task):
    """Trains and evaluates a network that gives log-probabilities [B, num_classes] of points [B, N, 6].

    Loss: mean negative log-likelihood. Metrics: overall accuracy, and class accuracy (mean recall).

    Args:
        label_smoothing: part of the likelihood that is spread over all classes.
        options: of `Task`.
    """

    name = "classification"
    monitor = "val/accuracy"

    def __init__(self, *args: Any, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_smoothing = label_smoothing
        self.confusion: MulticlassConfusionMatrix | None = None

    def setup(self, stage: str) -> None:
        self.class_names = list(self.trainer.datamodule.class_names)  # type: ignore[attr-defined]
        network: Any = self.network
        outputs: int = network.classify.out_features
        if outputs != len(self.class_names):
            raise ValueError(
                f"Classification: the network has num_classes {outputs}, but the data has {len(self.class_names)} classes; "
                "set model.init_args.network.init_args.num_classes"
            )
        self.confusion = MulticlassConfusionMatrix(outputs).to(self.device)

    def training_step(self, batch: ClassificationBatch, index: int) -> Tensor:
        log_probabilities = self.network(batch.points)
        loss = (1 - self.label_smoothing) * F.nll_loss(log_probabilities, batch.labels)
        loss = loss - self.label_smoothing * log_probabilities.mean()
        accuracy = (log_probabilities.argmax(1) == batch.labels).float().mean()
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True, batch_size=len(batch.labels))
        return loss

    def validation_step(self, batch: ClassificationBatch, index: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: ClassificationBatch, index: int) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: ClassificationBatch, stage: str) -> None:
        log_probabilities = self.network(batch.points)
        assert self.confusion is not None
        self.confusion.update(log_probabilities.argmax(1), batch.labels)
        self.log(f"{stage}/loss", F.nll_loss(log_probabilities, batch.labels), batch_size=len(batch.labels))

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        assert self.confusion is not None
        matrix = self.confusion.compute()
        self.confusion.reset()
        self.last_matrix = matrix.cpu()
        metrics = {f"{stage}/accuracy": overall_accuracy(matrix), f"{stage}/class_accuracy": class_accuracy(matrix)}
        self.log_dict(metrics, prog_bar=stage == "val")

    def description(self) -> dict[str, Any]:
        return {"class_names": self.class_names}

    def report(self, folder: str) -> list[str]:
        from geo3d.viz.sheets import confusion_matrix

        path = f"{folder}/confusion_matrix.png"
        confusion_matrix(self.last_matrix.numpy(), self.class_names, path)
        return [path]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in [name for name in checkpoint["state_dict"] if name.startswith("confusion.")]:
            del checkpoint["state_dict"][name]
