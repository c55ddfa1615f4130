"""Tensor names of the released DSVT checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from geo3d.zoo.openpcdet import convert_detection_names

RULES = [  # the first whose pattern begins the name puts this in its place
    (r"vfe\.pfn_layers\.", r"encoder.layers."),
    (
        r"backbone_3d\.input_layer\.posembed_layers\.(\d+)\.(\d+)\.(\d+)\.position_embedding_head\.",
        r"backbone.stages.\1.blocks.\2.positions.\3.layers.",
    ),
    (r"backbone_3d\.stage_(\d+)\.(\d+)\.encoder_list\.(\d+)\.(win_attn\.)?", r"backbone.stages.\1.blocks.\2.layers.\3.\4"),
    (r"backbone_3d\.residual_norm_stage_(\d+)\.(\d+)\.", r"backbone.stages.\1.blocks.\2.norm."),
]
PARTS = [
    ("win_attn.self_attn.", "attention."),
    ("win_attn.linear1.", "widen."),
    ("win_attn.linear2.", "narrow."),
    ("win_attn.norm1.", "attention_norm."),
    ("win_attn.norm2.", "feedforward_norm."),
    (".self_attn.", "."),
    (".pos_embedding", ".position"),
    (".in_proj_", ".in_projection."),
    (".out_proj.", ".out_projection."),
]


def is_official(names: Iterable[str]) -> bool:
    """Whether tensor names are those of the authors' checkpoint of a whole detector."""
    return any(name.startswith("vfe.pfn_layers.") for name in names)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ours from the authors' tensors by name, for `DSVTDetector` or some of its parts (`encoder.`, `backbone.`, `bev.`, `head.`)."""
    converted = convert_detection_names(state_dict)
    for name, tensor in state_dict.items():
        if name == "global_step" or name.startswith(("backbone_2d.", "dense_head.")):
            continue
        converted[_our_name(name)] = tensor
    return converted


def _our_name(name: str) -> str:
    new: str | None
    pooling = re.match(r"backbone_3d\.stage_(\d+)_reduction\.", name)
    if pooling:  # ours belongs to the stage after it
        new = f"backbone.stages.{int(pooling[1]) + 1}.pool.{name[pooling.end() :]}"
    else:
        new = next((re.sub(f"^{pattern}", by, name) for pattern, by in RULES if re.match(pattern, name)), None)
    if new is None:
        raise ValueError(f"convert_official: no released DSVT checkpoint has a tensor named {name!r}")
    for theirs, ours in PARTS:
        new = new.replace(theirs, ours)
    return new
