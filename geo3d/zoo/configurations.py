"""Training configurations (YAML) as descriptions of networks, without a training and without data."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from torch import nn

import geo3d.configs
from geo3d.descriptions import DetectionLabels, HandInput, Input, SweepInput
from geo3d.zoo.catalogue import names, network_tensors, weights_path
from geo3d.zoo.weights import WeightsInfo, build, fill, load_network


def config_path(name: str) -> Path:
    """A YAML file by path, or one that geo3d ships by its name, such as risurconv/generated_classification.

    Raises:
        FileNotFoundError: neither; the message lists those that are shipped.
    """
    shipped = Path(geo3d.configs.__file__).parent
    for path in (Path(name), shipped / name, shipped / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(path.relative_to(shipped).with_suffix("").as_posix() for path in shipped.rglob("*.yaml"))
    raise FileNotFoundError(f"no configuration {name}; geo3d ships {', '.join(known)}")


def network_and_info(source: str, weights: str | None = None) -> tuple[nn.Module, WeightsInfo]:
    """A network in evaluation mode, from weights alone or from a configuration.

    Args:
        source: packaged weights by name, a .safetensors file, or a configuration by name or file.
        weights: for a configuration; without them the network has fresh ones, which is said on stderr.

    Raises:
        FileNotFoundError: neither weights nor a configuration.
        ValueError: files that are damaged or do not fit.
    """
    if source in names() or Path(source).suffix == ".safetensors":
        if weights is not None:
            raise ValueError(f"--weights {weights}: {source} are weights already; --weights goes with a configuration")
        network, info = load_network(weights_path(source))
        return network.eval(), info
    try:
        info = info_of_config(config_path(source))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no weights {source} and {error}") from None
    network = build(info)
    if weights is None:
        print(f"{source} comes without weights: the network has fresh ones, to try and to time", file=sys.stderr)
    else:
        fill(network, network_tensors(weights), weights)
    return network.eval(), info


def info_of_config(path: Path) -> WeightsInfo:
    """What a training configuration says of its network and, where that takes no files, of its data.

    Raises:
        ValueError: no such configuration; the message names the file.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
        task, network = content["model"], content["model"]["init_args"]["network"]
        name = task_name(task["class_path"])
        class_names, preprocessing = _data_facts(name, content["data"])
        decoder = task["init_args"].get("decoder") or {}
        labels = DetectionLabels(class_names, decoder) if name == "detection" else None
        return WeightsInfo(network["class_path"], network.get("init_args", {}), name, labels, preprocessing)
    except (yaml.YAMLError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: expected the configuration of a network, got {type(error).__name__}: {reason}") from None


def task_name(class_path: str) -> str:
    """Name of a task in weight files, from the import path of its class: `geo3d.tasks.HandMesh` is "hand_mesh"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_path.rpartition(".")[2]).lower()


def _data_facts(task: str, data: dict[str, Any]) -> tuple[tuple[str, ...], Input | None]:
    """Class names of a detector, and preprocessing, of the data module that a configuration names, without its files."""
    module, _, name = data["class_path"].rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    options = {
        **{key: value.default for key, value in parameters.items() if value.default is not value.empty},
        **data.get("init_args", {}),
    }
    if task == "hand_mesh":
        return (), HandInput(options["image_size"], bool(options["as_released"]))
    if task != "detection":
        return (), None
    sensor = name.lower()
    dataset = getattr(importlib.import_module(f"geo3d.data.lidar.{sensor}"), f"{name}Dataset")
    camera_view_only = bool(options.get("camera_view_only", False))
    return tuple(options["class_names"]), SweepInput(sensor, tuple(dataset.features), camera_view_only)
