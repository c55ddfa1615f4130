"""Networks of hands by ONNX Runtime, which takes half the time of PyTorch for one image on a CPU."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from geo3d.data.cache import cache_folder
from geo3d.export.networks import export_of
from geo3d.export.onnx import PACKAGES, check_packages, write_part

Runner = Callable[[np.ndarray], tuple[np.ndarray, ...]]  # images [B, 3, S, S] uint8 to the network's outputs [B, ...]


def has_onnx_runtime() -> bool:
    """Whether ONNX Runtime and what exports to it are installed."""
    return all(find_spec(name) is not None for name in PACKAGES)


def torch_runner(network: nn.Module, device: torch.device) -> Runner:
    """Run a network by PyTorch."""

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            outputs = network(torch.from_numpy(np.ascontiguousarray(images)).to(device))
        return tuple(output.cpu().numpy() for output in outputs)

    return run


def onnx_runner(network: nn.Module, threads: int = 1) -> Runner:
    """Run a network by ONNX Runtime; the exported network is kept in the user's cache folder.

    Args:
        network: one that `geo3d export` takes, with images alone as its input.
        threads: of one call. With other stages at work beside it, one is best.

    Raises:
        ImportError: without ONNX Runtime.
    """
    check_packages()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(_exported(network)), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: tuple(session.run(None, {name: np.ascontiguousarray(images)}))


def _exported(network: nn.Module) -> Path:
    digest = hashlib.sha256(f"{type(network).__name__} {network} {torch.__version__}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    path = cache_folder() / "onnx" / f"{digest.hexdigest()[:24]}.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".onnx", dir=path.parent)
        os.close(handle)
        try:
            [part] = export_of(network).parts
            write_part(part, Path(temporary))
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path
