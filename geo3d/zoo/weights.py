"""Weight files: networks as .safetensors with what is needed to build and use them, and tensors from foreign checkpoints."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

METADATA_KEY = "geo3d"
LRGT_PARTS = (
    "encoder_state_dict",
    "merger_state_dict",
    "decoder_state_dict",
)  # of a released checkpoint; no name is in two of them


@dataclass(frozen=True)
class WeightsInfo:
    """What a weight file says beside its tensors.

    Attributes:
        network: import path of the network's class, such as "geo3d.models.risurconv.RISurConvClassifier".
        arguments: keyword arguments of the class.
        task: "classification", "part_segmentation" or "detection".
        labels: names that the outputs stand for, as the task describes them.
        preprocessing: how the inputs were prepared (`num_points`, `orient_normals`; of detectors `sensor`, `features`, `camera_view_only`).
        training: command, configuration and seeds.
        metrics: figures by name, as `geo3d test` printed them.
    """

    network: str
    arguments: Mapping[str, Any]
    task: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def save_weights(path: str | Path, network: nn.Module, info: WeightsInfo) -> None:
    """Write matrices in half precision and vectors (biases, norms and their statistics) in single precision."""
    from safetensors.torch import save_file

    tensors = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu()
        tensors[name] = (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor).contiguous()
    save_file(tensors, str(path), metadata={METADATA_KEY: json.dumps(asdict(info), sort_keys=True)})


def record_metrics(path: str | Path, metrics: Mapping[str, float]) -> None:
    """Write figures into the description of a .safetensors file of geo3d, in place of those it had.

    Raises:
        FileNotFoundError, ValueError: as `read_info`.
    """
    from safetensors.torch import load_file, save_file

    info = replace(read_info(path), metrics=dict(metrics))
    save_file(load_file(str(path)), str(path), metadata={METADATA_KEY: json.dumps(asdict(info), sort_keys=True)})


def read_info(path: str | Path) -> WeightsInfo:
    """The description in a .safetensors file of geo3d.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a .safetensors file, got {error}") from None
    if METADATA_KEY not in metadata:
        raise ValueError(f"{path}: expected weights saved by geo3d, got a .safetensors file without its description")
    return WeightsInfo(**json.loads(metadata[METADATA_KEY]))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of the network in a .safetensors file, a Lightning checkpoint (.ckpt) or a released checkpoint (.pth, .pt).

    Floating-point tensors come in single precision. Tensors of released checkpoints keep the authors' names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that none of the readers takes.
    """
    path = _existing(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(str(path))
        except SafetensorError as error:
            raise ValueError(f"{path}: expected a .safetensors file, got {error}") from None
    else:
        tensors = _checkpoint_tensors(path)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def build(info: WeightsInfo) -> nn.Module:
    """The network that a description names, with fresh weights; only classes of `geo3d.models` are built.

    Raises:
        ValueError: another class, or arguments that it does not take.
    """
    module, _, name = info.network.rpartition(".")
    if not module.startswith("geo3d.models."):
        raise ValueError(f"weights name the network {info.network!r}, which is not one of geo3d.models")
    try:
        return getattr(importlib.import_module(module), name)(**info.arguments)
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"weights name a network that this version of geo3d does not build: {info.network}: {error}") from None


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Load tensors into a network; every one must be there and fit, but for those that its `optional_tensors` names.

    Raises:
        ValueError: tensors of another network; the message names the source and the first that do not fit.
    """
    own = network.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # not in every released checkpoint, and not used
    optional = set(getattr(network, "optional_tensors", ()))
    missing = sorted(set(own) - set(tensors) - counters - optional)
    foreign = sorted(set(tensors) - set(own))
    shapes = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if missing or foreign or shapes:
        found = [f"{len(names)} {what} ({names[0]})" for names, what in ((missing, "missing"), (foreign, "unknown")) if names]
        if shapes:
            name = shapes[0]
            found.append(f"{len(shapes)} of another shape ({name}: {list(tensors[name].shape)}, not {list(own[name].shape)})")
        raise ValueError(f"{source}: weights do not fit {type(network).__name__}: {', '.join(found)}")
    network.load_state_dict(tensors, strict=False)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    return path


def _checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a pickled checkpoint, read by torch's restricted unpickler."""
    import numpy as np

    scalars = [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32)), np._core.multiarray.scalar]  # type: ignore[attr-defined]
    scalars.append((np._core.multiarray.scalar, "numpy.core.multiarray.scalar"))  # type: ignore[attr-defined]
    try:
        with torch.serialization.safe_globals(scalars):  # released checkpoints hold their scores as NumPy scalars
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the bytes make it raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: expected a checkpoint of tensors, got {reason[0][:150]}") from None
    if isinstance(content, dict) and all(isinstance(content.get(key), dict) for key in LRGT_PARTS):
        content = {name: tensor for key in LRGT_PARTS for name, tensor in content[key].items()}
    for key in ("state_dict", "model_state_dict", "model_state", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: expected a checkpoint with a state dict of tensors, got {type(content).__name__}")
    return {name.removeprefix("module.").removeprefix("network."): tensor for name, tensor in content.items()}
