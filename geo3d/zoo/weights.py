"""Weight files: networks as .safetensors with what is needed to build and use them, and tensors from foreign checkpoints."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from geo3d.descriptions import DESCRIPTIONS, Input, Labels, check_number, check_options, read_description, shortened
from geo3d.zoo.classes import is_among

METADATA_KEY = "geo3d"
MAX_ELEMENTS = 2**31  # of a network that no file limits
SPARE_ELEMENTS = 2**24  # beyond a file's size, for tables that a network makes by itself
MAX_STEPS = 50_000  # operations on tensors; the largest published networks take a tenth
MAKERS = {getattr(torch.ops.aten, name) for name in ("empty", "empty_like", "zeros", "ones", "full", "clone")}
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
        task: "classification", "part_segmentation", "detection", "reconstruction", "hand_mesh",
            "hand_detection" or "body_fitting".
        labels: what the results stand for, of the kind of the task (`geo3d.descriptions`), or its fields as a mapping; None where there
            is nothing to say, and of a task that this version does not know.
        preprocessing: how the inputs were prepared, likewise.
        training: command, configuration and seeds.
        metrics: figures by name, as `geo3d test` printed them.

    Raises:
        ValueError: a field that is not what it should be; the message begins with its name.
    """

    network: str
    arguments: Mapping[str, Any]
    task: str
    labels: Labels | None = None
    preprocessing: Input | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("network", "task"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a name, got {shortened(getattr(self, name))}")
        for name in ("arguments", "training", "metrics"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} must be an object, got {shortened(getattr(self, name))}")
        check_options("arguments", self.arguments)
        for name, value in self.metrics.items():
            if not isinstance(value, int | float):
                check_number(f"metrics.{name}", value)
        for name, kind in zip(("labels", "preprocessing"), DESCRIPTIONS.get(self.task, (None, None)), strict=True):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, None if kind is None else read_description(kind, value, name))
            elif value is not None and kind is not None and not isinstance(value, kind):
                raise ValueError(f"{name} must be {kind.__name__} for the task {self.task!r}, got {type(value).__name__}")

    @classmethod
    def from_json(cls, content: object) -> WeightsInfo:
        """From what `dataclasses.asdict` gave.

        Raises:
            ValueError: unknown or missing fields, or values of another kind; the message begins with the name of the field.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"expected an object, got {shortened(content)}")
        unknown = [name for name in content if name not in cls.__dataclass_fields__]
        if unknown:
            raise ValueError(f"has no field {shortened(unknown[0])}")
        for name in ("network", "arguments", "task"):
            if name not in content:
                raise ValueError(f"lacks {name}")
        return cls(**content)


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

    content = _read_metadata(Path(path))
    content["metrics"] = dict(metrics)
    save_file(load_file(str(path)), str(path), metadata={METADATA_KEY: json.dumps(content, sort_keys=True)})


def read_info(path: str | Path) -> WeightsInfo:
    """The description in a .safetensors file of geo3d.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or a description with fields that are not what they should be; the message names file and field.
    """
    content = _read_metadata(Path(path))
    try:
        return WeightsInfo.from_json(content)
    except ValueError as error:
        raise ValueError(f"{path}: its description does not hold: {error}") from None


def _read_metadata(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a .safetensors file, got another or a damaged one ({error})") from None
    if METADATA_KEY not in metadata:
        raise ValueError(f"{path}: expected weights saved by geo3d, got a .safetensors file without its description")
    try:
        content = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its description is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: its description must be an object, got {shortened(content)}")
    return content


def load_network(path: str | Path, allow_classes: Sequence[str] = ()) -> tuple[nn.Module, WeightsInfo]:
    """The network of a .safetensors file of geo3d with its weights, and their description.

    Args:
        path: the file.
        allow_classes: packages, modules or classes beside `geo3d.models` that the network may be of; importing one runs its code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or one whose description and tensors do not fit; the message names it.
    """
    path = _existing(path)
    info = read_info(path)
    try:
        network = build(info, path.stat().st_size + SPARE_ELEMENTS, allow_classes)  # an element takes a byte or more
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    fill(network, read_tensors(path), path)
    return network, info


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
            raise ValueError(f"{path}: expected a .safetensors file, got another or a damaged one ({error})") from None
    else:
        tensors = _checkpoint_tensors(path)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def build(info: WeightsInfo, max_elements: int = MAX_ELEMENTS, allow_classes: Sequence[str] = ()) -> nn.Module:
    """The network that a description names, with fresh weights; classes of `geo3d.models` are built, and those that are allowed.

    It is built without memory first, so that absurd arguments are refused before any is taken. Nothing is downloaded.

    Args:
        info: the description.
        max_elements: numbers in all of its tensors.
        allow_classes: packages, modules or classes beside `geo3d.models` that the network may be of; importing one runs its code.

    Raises:
        ValueError: another class, arguments that it does not take, or a network with more elements.
    """
    module, _, name = info.network.rpartition(".")
    if not is_among(info.network, ("geo3d.models", *allow_classes)):
        raise ValueError(
            f"weights name the network {shortened(info.network)}, which is not one of geo3d.models; importing it runs its code, which "
            f"--allow-classes {info.network.partition('.')[0][:60]} (allow_classes in Python) permits, if you know who wrote it"
        )
    arguments = {**info.arguments, "pretrained": False} if "pretrained" in info.arguments else dict(info.arguments)
    try:
        kind = getattr(importlib.import_module(module), name)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise TypeError("no network")
        with torch.device("meta"), _Limited(max_elements):
            kind(**arguments)
    except Exception as error:  # constructors raise whatever the arguments of a description make them raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"weights name a network that this version of geo3d does not build: {info.network}: {reason}"
        ) from None
    return kind(**arguments)


class _Limited(TorchDispatchMode):
    """Stops the construction of a network of more numbers than a limit, or in absurdly many steps; counts what is made or copied."""

    def __init__(self, max_elements: int) -> None:
        super().__init__()
        self.max_elements = max_elements
        self.elements, self.steps = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.steps += 1
        if func.overloadpacket in MAKERS:
            self.elements += result.numel()
        if self.elements > self.max_elements or self.steps > MAX_STEPS:
            raise ValueError(
                f"its arguments make it larger than {self.max_elements} numbers, or than {MAX_STEPS} steps of making it"
            )
        return result


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
