"""Classification of point clouds."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from geo3d.data.shapes.samples import ClassificationBatch
from geo3d.descriptions import ClassificationLabels
from geo3d.metrics.classification import class_accuracy, overall_accuracy
from geo3d.tasks.base import Stage, Task


class Classification(Task):
    """Trains and evaluates a network that gives log-probabilities [B, num_classes] of points [B, N, 6].

    Loss: mean negative log-likelihood. Metrics: overall accuracy, and class accuracy (mean recall).

    Args:
        label_smoothing: part of the likelihood that is spread over all classes.
        options: of `Task`.
    """

    name = "classification"
    monitor = "val/accuracy"
    shown = ("class_accuracy",)

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

    def outputs(self, batch: ClassificationBatch) -> Tensor:
        return self.network(batch.points)

    def losses(self, outputs: Tensor, batch: ClassificationBatch) -> dict[str, Tensor]:
        loss = F.nll_loss(outputs, batch.labels)
        if self.training:  # the loss of an evaluation is the plain likelihood
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * outputs.mean()
        return {"loss": loss}

    def batch_size(self, batch: ClassificationBatch) -> int:
        return len(batch.labels)

    def training_metrics(self, outputs: Tensor, batch: ClassificationBatch) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(1) == batch.labels).float().mean()}

    def update_metrics(self, outputs: Tensor, batch: ClassificationBatch) -> None:
        assert self.confusion is not None
        self.confusion.update(outputs.argmax(1), batch.labels)

    def compute_metrics(self, stage: Stage) -> dict[str, Tensor]:
        assert self.confusion is not None
        matrix = self.confusion.compute()
        self.confusion.reset()
        self.last_matrix = matrix.cpu()
        return {"accuracy": overall_accuracy(matrix), "class_accuracy": class_accuracy(matrix)}

    def labels(self) -> ClassificationLabels:
        return ClassificationLabels(tuple(self.class_names))

    def report(self, folder: str) -> list[str]:
        from geo3d.viz.sheets import confusion_matrix

        path = f"{folder}/confusion_matrix.png"
        confusion_matrix(self.last_matrix.numpy(), self.class_names, path)
        return [path]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in [name for name in checkpoint["state_dict"] if name.startswith("confusion.")]:
            del checkpoint["state_dict"][name]
