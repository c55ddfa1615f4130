"""LRGT on some numbers of views, part by part, and the peer with explicit attention matrices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from geo3d.models.lrgt import LRGT
from geo3d.tools.benchmarks.case import Case, Mark
from geo3d.tools.benchmarks.plain.lrgt import PlainLRGT
from geo3d.zoo.configurations import info_of_config
from geo3d.zoo.weights import build

CONFIGS = ("lrgt/shapenet", "lrgt/generated")
VIEWS = (1, 3, 8, 20)


def build_network(path: Path) -> LRGT:
    """The network of a configuration with fresh weights.

    Raises:
        ValueError: no configuration of LRGT.
    """
    built = build(info_of_config(path))
    if not isinstance(built, LRGT):
        raise ValueError(f"{path}: expected the configuration of LRGT, got one of {type(built).__name__}")
    return built


def make_cases(path: Path, device: torch.device) -> dict[str, Case]:
    """The network of a configuration on one object with each of VIEWS, by a name for each.

    Raises:
        ValueError: no configuration of LRGT.
    """
    torch.manual_seed(0)
    network = build_network(path).to(device).eval()
    plain = PlainLRGT(network)
    cases = {}
    for views in VIEWS:
        size = network.image_size
        images = torch.rand(1, views, 3, size, size, device=device) * 2 - 1
        title = f"{path.stem}, one object, {views} {'view' if views == 1 else 'views'} of {size} x {size} pixels"
        cases[f"{path.stem}_{views}"] = Case(title, partial(run_parts, network, images), partial(_peer, plain, images))
    return cases


def run_parts(network: LRGT, images: Tensor, mark: Mark) -> tuple[Tensor, None]:
    """Probabilities, as the network computes them; calls mark(name) at the end of each part."""
    tokens = network.encoder(images)
    mark("encoder")
    merged = network.merger(tokens)
    mark("merger")
    occupancy = network.decoder(merged).float().permute(0, 3, 2, 1).sigmoid()
    mark("decoder")
    return occupancy, None


def _peer(plain: PlainLRGT, images: Tensor, mark: Mark) -> tuple[Tensor, None]:
    return plain(images, mark), None
