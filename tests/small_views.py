"""A small network of reconstruction with fresh weights, as a file."""

from __future__ import annotations

from pathlib import Path

import torch

from geo3d.descriptions import ReconstructionLabels, ViewInput
from geo3d.models.lrgt import LRGT
from geo3d.zoo.weights import WeightsInfo, save_weights

SIDE = 32
ARGUMENTS = {
    "image_size": SIDE,
    "patch_size": 8,
    "channels": 12,
    "depth": 1,
    "heads": 2,
    "grouping_blocks": [0],
    "groups": 2,
    "merged_tokens": [6, 6],
    "neighbors": 3,
    "decoder_widths": [4],
    "stage_depth": 1,
}
INFO = WeightsInfo(
    "geo3d.models.lrgt.LRGT", ARGUMENTS, "reconstruction", ReconstructionLabels(("chair",), 0.4), ViewInput(crop=128)
)


def write_views(path: Path) -> Path:
    """Weights whose occupancies are about a half."""
    torch.manual_seed(0)
    save_weights(path, LRGT(**ARGUMENTS), INFO)
    return path
