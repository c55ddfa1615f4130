"""ArtEq on one scan, part by part, and the peer that keeps all neighbours and kernel weights in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geo3d.body import load_body_model, part_labels
from geo3d.data.synthetic.bodies.scans import ScanSettings, sample_scan
from geo3d.models.arteq import ArtEq, BodyEstimate
from geo3d.tools.benchmarks.case import Case, Mark
from geo3d.tools.benchmarks.plain.arteq import PlainArtEq
from geo3d.zoo.configurations import info_of_config
from geo3d.zoo.weights import build

CONFIGS = ("arteq/dfaust", "arteq/generated_small")


def make_cases(path: Path, device: torch.device) -> dict[str, Case]:
    """The network of a configuration with fresh weights, and its peer, by name.

    Raises:
        ValueError: no configuration of ArtEq.
    """
    torch.manual_seed(0)
    info = info_of_config(path)
    network = build(info)
    if not isinstance(network, ArtEq):
        raise ValueError(f"{path}: expected the configuration of ArtEq, got one of {type(network).__name__}")
    network = network.to(device).eval()
    described: Any = info.preprocessing
    points = scan_of(described.num_points).to(device)
    title = f"{path.stem}, a scan of {points.shape[1]:,} points"
    return {path.stem: Case(title, partial(_ours, network, points), partial(_peer, PlainArtEq(network), points))}


def scan_of(count: int) -> Tensor:
    """Points [1, count, 3] of the packaged body, with a millimetre of noise, about their mean."""
    body = load_body_model().requires_grad_(False)
    labels, faces = part_labels(body.lbs_weights).numpy(), body.faces.astype(np.int64)
    settings = ScanSettings(noise=0.001)
    points, _ = sample_scan(body().vertices[0].numpy(), faces, labels, count, np.random.default_rng(0), settings)
    return torch.from_numpy(points - points.mean(0)).float()[None]


def run_parts(network: ArtEq, points: Tensor, mark: Mark) -> BodyEstimate:
    """The network as it is; calls mark(name) at the end of each part."""
    blocks: list[Any] = [block for level in network.encoder.levels for block in level]  # type: ignore[attr-defined]
    parts = {f"block {number}": block for number, block in enumerate(blocks, 1)} | {"segmentation": network.segmenter}
    hooks = [part.register_forward_hook(lambda *_, name=name: mark(name)) for name, part in parts.items()]
    try:
        estimate = network(points)
    finally:
        for hook in hooks:
            hook.remove()
    mark("pose and shape")
    return estimate


def _ours(network: ArtEq, points: Tensor, mark: Mark) -> tuple[Tensor, None]:
    return _compared(run_parts(network, points, mark)), None


def _peer(plain: PlainArtEq, points: Tensor, mark: Mark) -> tuple[Tensor, None]:
    return _compared(plain(points, mark)), None


def _compared(estimate: BodyEstimate) -> Tensor:
    """All but the rotations: without training the weights are nearly equal, and rounding decides which rotation they mean."""
    return torch.cat([estimate.part_logits.flatten(), estimate.betas.flatten(), estimate.anchor_weights.flatten()])
