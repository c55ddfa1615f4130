"""What all tasks share: optimiser, schedule, batch-norm momentum."""

from __future__ import annotations

from typing import Any, Literal

import lightning
import torch
from torch import nn

from geo3d.tasks.schedules import Schedule, StepDecay


class Task(lightning.LightningModule):
    """A network with its optimiser; subclasses add the loss and the metrics.

    Args:
        network: the network.
        lr: learning rate at the start.
        weight_decay: of the optimiser.
        optimizer: "adam" (its decay is an L2 term in the gradient), "adamw", or "sgd" with momentum 0.9.
        schedule: learning rate by epoch; the rate stays as it is without one.
        norm_momentum: momentum of every batch norm by epoch, with 0.1 as its start; PyTorch's 0.1 throughout without one.

    Raises:
        ValueError: a learning rate that is not above 0.
    """

    name: str  # of the task, in weight files
    monitor: str  # the logged metric that the best checkpoint has the highest of

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        optimizer: Literal["adam", "adamw", "sgd"] = "adam",
        schedule: Schedule | None = None,
        norm_momentum: StepDecay | None = None,
    ) -> None:
        super().__init__()
        if not lr > 0:
            raise ValueError(f"{type(self).__name__}: lr must be above 0, got {lr:g}")
        self.network = network
        self.lr = lr
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.norm_momentum = norm_momentum

    def configure_optimizers(self) -> Any:
        parameters = self.network.parameters()
        if self.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                parameters, self.lr, momentum=0.9, weight_decay=self.weight_decay
            )
        else:
            kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
            optimizer = kind(parameters, self.lr, weight_decay=self.weight_decay)
        if self.schedule is None:
            return optimizer
        schedule, epochs = self.schedule, self.trainer.max_epochs or 1
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: schedule.rate(epoch, epochs, self.lr) / self.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def on_train_epoch_start(self) -> None:
        if self.norm_momentum is not None:
            momentum = self.norm_momentum.rate(self.current_epoch, self.trainer.max_epochs or 1, 0.1)
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.momentum = momentum

    def description(self) -> dict[str, Any]:
        """What a user of the weights must know beside the network, for their metadata."""
        return {}

    def preprocessing(self) -> dict[str, Any]:
        """How inputs were prepared, beside the data module's own arguments, for the metadata of the weights."""
        return {}

    def report(self, folder: str) -> list[str]:
        """Write pictures of the last test into a folder; returns their paths."""
        return []
