"""Where Triton kernels run in this session: on CPU tensors in the interpreter, or on the GPU with TRITON_INTERPRET=0."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

try:
    import triton
except ImportError:  # builds of torch without CUDA
    IS_INTERPRETED = True
else:
    IS_INTERPRETED = triton.knobs.runtime.interpret
DEVICE = "cpu" if IS_INTERPRETED else "cuda"
NO_GPU = IS_INTERPRETED or not torch.cuda.is_available()
NO_GPU_REASON = "no CUDA device, or kernels are interpreted (TRITON_INTERPRET=0 runs them on it)"


class OnDevice:
    """The launchers of a module, for tensors on the CPU: arguments go to the device of the kernels, results come back."""

    def __init__(self, module: ModuleType, device: str = DEVICE) -> None:
        self._module, self._device = module, device

    def __getattr__(self, name: str) -> Callable:
        function = getattr(self._module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            options = {key: _moved(value, self._device) for key, value in options.items()}
            return _moved(function(*_moved(arguments, self._device), **options), "cpu")

        return call


def _moved(value: Any, device: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return tuple(_moved(item, device) for item in value) if isinstance(value, tuple) else value
