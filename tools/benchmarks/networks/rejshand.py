"""ReJSHand on one crop, as time counts before a camera: the folded network beside the plain form of the released one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from geo3d.body.hands import keypoint_regressor, read_hand
from geo3d.models.rejshand import FoldedReJSHand, ReJSHand
from geo3d.tools.benchmarks.case import Case, Mark
from geo3d.tools.benchmarks.plain.rejshand import PlainReJSHand
from geo3d.zoo.configurations import info_of_config
from geo3d.zoo.weights import build

CONFIGS = ("rejshand/freihand_fastvit", "rejshand/freihand_repvit", "rejshand/generated_small")


def make_cases(path: Path, device: torch.device) -> dict[str, Case]:
    """The network of a configuration with fresh weights, folded, and its peer, by name.

    Raises:
        ValueError: no configuration of ReJSHand.
    """
    torch.manual_seed(0)
    network = build(info_of_config(path))
    if not isinstance(network, ReJSHand):
        raise ValueError(f"{path}: expected the configuration of ReJSHand, got one of {type(network).__name__}")
    network.set_joint_regressor(torch.from_numpy(keypoint_regressor(read_hand())))
    network = network.to(device).eval()
    size = network.image_size
    images = torch.randint(256, (1, 3, size, size), dtype=torch.uint8, device=device)
    title = f"{path.stem}, one crop of {size} x {size} pixels"
    ours, peer = partial(run_parts, FoldedReJSHand(network), images), partial(_peer, PlainReJSHand(network), images)
    return {path.stem: Case(title, ours, peer)}


def run_parts(folded: FoldedReJSHand, images: Tensor, mark: Mark) -> tuple[Tensor, None]:
    """Vertices, as the folded network computes them; calls mark(name) at the end of each part."""
    network = folded.network
    maps = network.backbone.maps(network.prepared(images))
    mark("backbone")
    output = network.heads(*maps)
    mark("heads")
    return output.vertices, None


def _peer(plain: PlainReJSHand, images: Tensor, mark: Mark) -> tuple[Tensor, None]:
    return plain(images, mark).vertices, None
