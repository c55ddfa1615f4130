"""Networks of hands by ONNX Runtime, which takes half the time of PyTorch for one image on a CPU."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from geo3d.data.cache import cache_folder

Runner = Callable[[np.ndarray], tuple[np.ndarray, ...]]  # images [B, 3, S, S] uint8 to the network's outputs [B, ...]
OPSET = 18


def has_onnx_runtime() -> bool:
    """Whether ONNX Runtime and what exports to it are installed."""
    return all(find_spec(name) is not None for name in ("onnxruntime", "onnx"))


def torch_runner(network: nn.Module, device: torch.device) -> Runner:
    """Run a network by PyTorch."""

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            outputs = network(torch.from_numpy(np.ascontiguousarray(images)).to(device))
        return tuple(output.cpu().numpy() for output in outputs)

    return run


def onnx_runner(network: nn.Module, side: int, threads: int = 1) -> Runner:
    """Run a network by ONNX Runtime; the exported network is kept in the user's cache folder.

    Args:
        network: in evaluation mode; takes images [1, 3, S, S] uint8 and gives a tuple of tensors.
        side: S.
        threads: of one call.

    Raises:
        ImportError: without ONNX Runtime.
    """
    if not has_onnx_runtime():
        raise ImportError("onnx_runner: needs ONNX Runtime, `pip install onnx onnxruntime`")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(_exported(network, side)), options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        each = [session.run(None, {"images": np.ascontiguousarray(image[None])}) for image in images]
        return tuple(np.concatenate(parts) for parts in zip(*each, strict=True))

    return run


def _exported(network: nn.Module, side: int) -> Path:
    digest = hashlib.sha256(f"{type(network).__name__} {network} {side} {torch.__version__}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    path = cache_folder() / "onnx" / f"{digest.hexdigest()[:24]}.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".onnx", dir=path.parent)
        os.close(handle)
        try:
            _export(network, side, temporary)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path


def _export(network: nn.Module, side: int, path: str) -> None:
    example = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    names: Any = {"input_names": ["images"]}
    with torch.no_grad(), _quiet():  # by tracing: a fixed batch of one, in a tenth of the time of torch.export
        torch.onnx.export(network, (example,), path, dynamo=False, opset_version=OPSET, **names)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
