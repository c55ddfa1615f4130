"""Tensor names of ReJSHand checkpoints, as the authors' training writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

LEFT_OUT = re.compile(r"backbone\.head\.")  # the backbone's classifier, which is not used
RULES = [
    (r"backbone\.", "backbone.network."),
    (r"keypoints_2d_head\.", "keypoints."),
    (r"mesh_head\.deconv\.0\.", "mesh_head.enlarge."),
    (r"mesh_head\.deconv\.1\.", "mesh_head.norm."),
    (r"mesh_head\.pred_final\.", "mesh_head.coordinates."),
]
LEVEL_RULES = [
    (r"mesh_head\.proj_(\d+)\.", "projections.{}."),
    (r"mesh_head\.upsample_(\d+)\.upsample\.", "expansions.{}."),
    (r"mesh_head\.encoder_(\d+)\.sgcn\.conv\.", "blocks.{}.refine."),
    (r"mesh_head\.encoder_(\d+)\.mhsa\.fc_out\.", "blocks.{}.attention.project."),
    (r"mesh_head\.encoder_(\d+)\.mhsa\.(?=values|keys|queries)", "blocks.{}.attention."),
    (r"mesh_head\.encoder_(\d+)\.fc\.", "blocks.{}.mix."),
    (r"mesh_head\.pos_emb_(\d+)$", "positions.{}"),
]


def is_official(names: Iterable[str]) -> bool:
    """Whether tensor names are those of the authors' checkpoint of a whole network."""
    return any(name.startswith("mesh_head.deconv.") for name in names)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ours from the authors' tensors by name, for `ReJSHand` or its heads. The joint regressor is in no checkpoint."""
    converted = {}
    for name, tensor in state_dict.items():
        name = name.removeprefix("module.")
        if LEFT_OUT.match(name):
            continue
        if re.search(r"\.sgcn\.conv\.weight$", name):
            tensor = tensor.squeeze(-1)  # a convolution over single tokens
        converted[_our_name(name)] = tensor
    return converted


def _our_name(name: str) -> str:
    for pattern, place in RULES:
        match = re.match(pattern, name)
        if match:
            return place + name[match.end() :]
    for pattern, place in LEVEL_RULES:
        match = re.match(pattern, name)
        if match:
            return f"mesh_head.{place.format(int(match[1]) - 1)}{name[match.end() :]}"
    raise ValueError(f"convert_official: no ReJSHand checkpoint has a tensor named {name!r}")
