"""What all tasks share: optimiser, schedule, batch-norm momentum, steps of training and evaluation, logging."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from geo3d.descriptions import Input, Labels
from geo3d.tasks.processes import evaluating_alone, merged
from geo3d.tasks.schedules import Schedule, StepDecay

Stage = Literal["val", "test"]


class Task(lightning.LightningModule, ABC):
    """A network with its optimiser; runs and logs training, validation and test.

    Subclasses give `outputs`, `losses`, `batch_size`, `update_metrics` and `compute_metrics`.

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
    monitor: str  # the logged metric that tells the best checkpoint
    monitor_mode: Literal["max", "min"] = "max"  # whether the best checkpoint has the highest or the lowest of it
    shown: tuple[str, ...] = ()  # metrics of the validation that the progress bar shows beside `monitor`, without "val/"

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
        self._sums: dict[str, tuple[float, int]] = {}  # of the losses of an evaluation, each with its number of items

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

    def total_steps(self) -> int:
        """Steps of the optimiser in the whole training, for schedules by step.

        Lightning's `estimated_stepping_batches` would start the data workers at once: of a resumed training with the data of the
        first epoch, as its own is not known yet.

        Raises:
            ValueError: a training without an end.
        """
        trainer: Any = self.trainer
        if trainer.max_epochs == -1 and trainer.max_steps == -1:
            raise ValueError(f"{type(self).__name__}: the schedule needs an end; set trainer.max_epochs or trainer.max_steps")
        if trainer.max_epochs == -1:
            return int(trainer.max_steps)
        batches, limit = len(trainer.datamodule.train_dataloader()), trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(limit * batches)
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * max(trainer.max_epochs, 1)
        return steps if trainer.max_steps == -1 else min(steps, int(trainer.max_steps))

    def on_train_start(self) -> None:
        # A checkpoint brings the rate of the schedule that it was written under; max_epochs may have changed since.
        for config in self.trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            if isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
                rates = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
                for group, rate, factor in rates:
                    group["lr"] = rate * factor(scheduler.last_epoch)

    def on_train_epoch_start(self) -> None:
        # What an epoch draws (dropout) depends on seed, epoch and process alone, so that a resumed training repeats it.
        seed = [int(os.environ.get("PL_GLOBAL_SEED", "0")), self.current_epoch, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        if self.norm_momentum is not None:
            momentum = self.norm_momentum.rate(self.current_epoch, self.trainer.max_epochs or 1, 0.1)
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.momentum = momentum

    @abstractmethod
    def outputs(self, batch: Any) -> Any:
        """What the network gives for a batch."""

    @abstractmethod
    def losses(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Terms of the loss by name, each a scalar; "loss" is what training minimizes."""

    @abstractmethod
    def batch_size(self, batch: Any) -> int:
        """Number of items in a batch, their weight in logged means."""

    @abstractmethod
    def update_metrics(self, outputs: Any, batch: Any) -> None:
        """Take a batch of the validation or test into the metrics."""

    @abstractmethod
    def compute_metrics(self, stage: Stage) -> dict[str, Any]:
        """Metrics by name since the last call, each a scalar, without the stage; starts them afresh."""

    def training_metrics(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Figures of a training batch to show and to log beside its losses."""
        return {}

    def evaluated(self, batch: Any, stage: Stage) -> Iterable[tuple[str, Any]]:
        """The batches to evaluate for one of the data, each with what the name of its loss ends with; the batch itself here."""
        return [("", batch)]

    def training_step(self, batch: Any, index: int) -> Tensor:
        outputs, size = self.outputs(batch), self.batch_size(batch)
        losses = self.losses(outputs, batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value, batch_size=size, prog_bar=name == "loss")
        for name, value in self.training_metrics(outputs, batch).items():
            self.log(f"train/{name}", value, batch_size=size, prog_bar=True)
        return losses["loss"]

    def validation_step(self, batch: Any, index: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Any, index: int) -> None:
        self._evaluate(batch, "test")

    def on_validation_start(self) -> None:
        evaluating_alone(self.trainer.strategy.model, self.network, True)

    def on_validation_end(self) -> None:
        evaluating_alone(self.trainer.strategy.model, self.network, False)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, batch: Any, stage: Stage) -> None:
        for ending, each in self.evaluated(batch, stage):
            outputs = self.outputs(each)
            loss, size = float(self.losses(outputs, each)["loss"]), self.batch_size(each)
            total, count = self._sums.get(f"loss{ending}", (0.0, 0))
            self._sums[f"loss{ending}"] = (total + loss * size, count + size)
            self.update_metrics(outputs, each)

    def _log_metrics(self, stage: Stage) -> None:
        """Figures over the items of all processes, the same in each of them."""
        shown = {self.monitor, *(f"val/{name}" for name in self.shown)}
        losses = {name: total / count for name, (total, count) in merged(self._sums).items()}
        self._sums = {}
        for name, value in {**losses, **self.compute_metrics(stage)}.items():
            self.log(f"{stage}/{name}", value, prog_bar=f"{stage}/{name}" in shown)

    def labels(self) -> Labels | None:
        """What the results stand for, for the description of the weights; see `geo3d.descriptions`."""
        return None

    def preprocessing(self) -> Input | None:
        """How the data module prepares the inputs, likewise; None of one that does not say."""
        describe = getattr(self.trainer.datamodule, "preprocessing", None)  # type: ignore[attr-defined]
        return None if describe is None else describe()

    def report(self, folder: str) -> list[str]:
        """Write pictures of the last test into a folder; returns their paths."""
        return []
