"""Where the first number that is not finite arises in a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn


class FindNaN(Callback):
    """Ends a training where a module of the network first gives NaN or infinity, in its outputs or in the gradient of its inputs.

    Every module's outputs are looked at, which costs a few percent of a step on the CPU and one wait for the GPU a module; it is for a
    training that is known to go wrong. Padding that is infinite on purpose inside a module is not seen, what a module returns is.

    Raises:
        FloatingPointError: in the step where it happens; the message names the module, what was not finite, and whether its inputs were.
    """

    def __init__(self) -> None:
        self._place = ""
        self._handles: list[Any] = []
        self._names: dict[nn.Module, str] = {}
        self._inplace: list[Any] = []  # modules that overwrote their inputs, which gradients cannot be looked at with

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network: nn.Module = pl_module.network  # type: ignore[assignment]
        for name, module in network.named_modules(prefix="network"):
            self._names[module] = f"{name} ({type(module).__name__})"
            if getattr(module, "inplace", False) is True:
                module.inplace = False
                self._inplace.append(module)
            self._handles += [
                module.register_forward_hook(self._check_outputs),
                module.register_full_backward_hook(self._check_gradients),
            ]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._place = f"epoch {trainer.current_epoch}, batch {batch_idx}"
        for name, parameter in pl_module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise FloatingPointError(f"{self._place}: the parameter {name} is not finite since the step before")
        for name, tensor in _tensors(batch, "batch"):
            if torch.isnan(tensor).any():
                raise FloatingPointError(f"{self._place}: {name} has NaN before any module saw it")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        for module in self._inplace:
            module.inplace = True
        self._handles, self._inplace = [], []

    def _check_outputs(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        if not module.training:
            return
        found = _not_finite(outputs, "its output")
        if found is None:
            return
        before = _not_finite(inputs, "its input")
        cause = f", after {before}" if before else ", from finite inputs"
        raise FloatingPointError(f"{self._place}: {self._names[module]}: {found}{cause}")

    def _check_gradients(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        found = _not_finite(inputs, "the gradient of its input")
        if found is None:
            return
        before = _not_finite(outputs, "that of its output")
        cause = f", after {before}" if before else ", from finite gradients of its output"
        raise FloatingPointError(f"{self._place}: {self._names[module]}: {found}{cause}")


def _not_finite(value: Any, name: str) -> str | None:
    for place, tensor in _tensors(value, name):
        finite = torch.isfinite(tensor.detach())
        if not finite.all():
            kind = "NaN" if torch.isnan(tensor.detach()).any() else "infinity"
            return f"{place} {list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} has {kind} in {int((~finite).sum())} places"
    return None


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Floating-point tensors in a value, with names."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{name}.{key}")
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, each in enumerate(value):
            yield from _tensors(each, f"{name}[{number}]" if len(value) > 1 else name)
