"""What the launchers of all kernels share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

EXACT = {"enable_fp_fusion": False}  # no fused multiply-adds: results that are compared with a threshold fall as on the CPU


def on_device_of_tensors(function: Function) -> Function:
    """Run a launcher with the device of its first argument as the current one, to which Triton launches."""

    @functools.wraps(function)
    def launch(first: Tensor, *arguments: Any, **options: Any) -> Any:
        if first.device.type != "cuda":  # the interpreter
            return function(first, *arguments, **options)
        with torch.cuda.device(first.device):
            return function(first, *arguments, **options)

    return launch  # type: ignore[return-value]
