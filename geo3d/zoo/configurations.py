"""Training configurations (YAML) as descriptions of networks, without a training and without data."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

import geo3d.configs
from geo3d.descriptions import DetectionLabels
from geo3d.zoo.catalogue import names, network_tensors, weights_path
from geo3d.zoo.classes import check_classes, limit_classes
from geo3d.zoo.weights import WeightsInfo, build, fill, load_network
from geo3d.zoo.yaml_files import read_yaml


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


def network_and_info(
    source: str, weights: str | None = None, allow_classes: Sequence[str] = ()
) -> tuple[nn.Module, WeightsInfo]:
    """A network in evaluation mode, from weights alone or from a configuration.

    Args:
        source: packaged weights by name, a .safetensors file, or a configuration by name or file.
        weights: for a configuration; without them the network has fresh ones, which is said on stderr.
        allow_classes: packages whose classes it may name beside those of `geo3d.zoo.classes.PACKAGES`.

    Raises:
        FileNotFoundError: neither weights nor a configuration.
        ValueError: files that are damaged or do not fit.
    """
    if source in names() or Path(source).suffix == ".safetensors":
        if weights is not None:
            raise ValueError(f"--weights {weights}: {source} are weights already; --weights goes with a configuration")
        network, info = load_network(weights_path(source), allow_classes)
        return network.eval(), info
    try:
        info = info_of_config(config_path(source), allow_classes)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no weights {source} and {error}") from None
    network = build(info, allow_classes=allow_classes)
    if weights is None:
        print(f"{source} comes without weights: the network has fresh ones, to try and to time", file=sys.stderr)
    else:
        fill(network, network_tensors(weights), weights)
    return network.eval(), info


def info_of_config(path: Path, allow_classes: Sequence[str] = ()) -> WeightsInfo:
    """What a training configuration says of its network and, where that takes no files, of its data.

    Args:
        path: the YAML file.
        allow_classes: packages whose classes it may name beside those of `geo3d.zoo.classes.PACKAGES`.

    Raises:
        ValueError: no such configuration; the message names the file.
    """
    content = read_yaml(path)
    check_classes(content, str(path), allow_classes)
    limit_classes(allow_classes)
    try:
        task, network = content["model"], content["model"]["init_args"]["network"]
        data = data_module(content)
        arguments = {**data_arguments(data), **network.get("init_args", {})}
        name = task_name(task["class_path"])
        decoder = task["init_args"].get("decoder") or {}
        labels = DetectionLabels(tuple(data.class_names), decoder) if name == "detection" else None
        preprocessing = data.preprocessing() if hasattr(data, "preprocessing") else None
        return WeightsInfo(network["class_path"], arguments, name, labels, preprocessing)
    except (ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: expected the configuration of a network, got {type(error).__name__}: {reason}") from None


def task_name(class_path: str) -> str:
    """Name of a task in weight files, from the import path of its class: `geo3d.tasks.HandMesh` is "hand_mesh"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_path.rpartition(".")[2]).lower()


def data_module(content: Mapping[str, Any], options: Sequence[str] = ()) -> Any:
    """The data module of a configuration, without its files.

    Args:
        content: of the YAML.
        options: of the command line that change the data, such as `--data.init_args.num_sweeps=4`.

    Raises:
        ArgumentError: keys or values that it does not take.
    """
    import yaml
    from jsonargparse import ArgumentParser
    from lightning import LightningDataModule

    limit_classes()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(LightningDataModule, "data", fail_untyped=False)
    config = parser.parse_args(["--config", yaml.safe_dump({"data": content["data"]}), *options])
    return parser.instantiate_classes(config).data


def data_arguments(data: Any) -> dict[str, Any]:
    """Arguments of a network that follow from its data, where the data module says so."""
    return data.network_arguments() if hasattr(data, "network_arguments") else {}
