"""From weights to the predictor of their task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geo3d.predict.base import Predictor
from geo3d.predict.bodies import BodyFitter
from geo3d.predict.hand_finder import HandFinder
from geo3d.predict.hands import HandPredictor
from geo3d.predict.shapes import PartLabeler, ShapeClassifier
from geo3d.predict.sweeps import Detector
from geo3d.predict.views import ViewReconstructor
from geo3d.zoo.catalogue import names, weights_path
from geo3d.zoo.weights import WeightsInfo, load_network, read_info

PREDICTORS: dict[str, type[Predictor[Any, Any]]] = {  # by task, as the weights name it
    "body_fitting": BodyFitter,
    "classification": ShapeClassifier,
    "detection": Detector,
    "hand_detection": HandFinder,
    "hand_mesh": HandPredictor,
    "part_segmentation": PartLabeler,
    "reconstruction": ViewReconstructor,
}


def load(name: str | Path, device: str | torch.device = "cpu", *, allow_classes: Sequence[str] = ()) -> Any:
    """A trained model, ready for the user's own clouds, meshes, sweeps and pictures.

    Args:
        name: packaged weights by name (see `geo3d.zoo.names`), a .safetensors file that `geo3d train` wrote, or a folder of
            `geo3d export`.
        device: where it runs; of an exported network what PyTorch does.
        allow_classes: packages, modules or classes beside `geo3d.models` that the network may be of; importing one runs its code.

    Returns:
        The predictor of the weights' task (see `geo3d.predict.Predictor`): call it with a file or an array; `.network` is the network
        in evaluation mode, `.info` its description.

    Raises:
        FileNotFoundError: no such weights.
        ImportError: an exported network without ONNX Runtime.
        ValueError: a file that is not weights of geo3d.
    """
    network: nn.Module
    if _is_export(name):
        from geo3d.export.networks import read_export

        network, info = read_export(name, allow_classes=allow_classes)
        return predictor_for(network.to(device), info, name)
    path = weights_path(name)
    network, info = load_network(path, allow_classes)
    return predictor_for(network.to(device), info, path)


def info_of(name: str | Path) -> WeightsInfo:
    """The description of weights, without their tensors.

    Args:
        name: as in `load`.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    if _is_export(name):
        from geo3d.export.networks import read_export_info

        return read_export_info(name)
    return read_info(weights_path(name))


def predictor_for(network: nn.Module, info: WeightsInfo, source: str | Path = "weights") -> Predictor[Any, Any]:
    """The predictor of a task's networks.

    Args:
        network: with its weights.
        info: their description.
        source: where they are from, for errors.

    Raises:
        ValueError: an unknown task, or options that its decoder does not have.
    """
    if info.task not in PREDICTORS:
        raise ValueError(
            f"{source}: weights are for the task {info.task!r}; this version of geo3d predicts {', '.join(PREDICTORS)}"
        )
    try:
        return PREDICTORS[info.task](network, info)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _is_export(name: str | Path) -> bool:
    """A packaged name wins over a folder that happens to be called so."""
    return Path(name).is_dir() and str(name) not in names()
