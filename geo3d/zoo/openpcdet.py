"""Tensor names of the parts that 3D detectors share, in checkpoints of DSVT (and of OpenPCDet, which it builds on)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

BACKBONE = [
    (r"backbone_2d\.blocks\.", "bev.levels."),
    (r"backbone_2d\.deblocks\.", "bev.up_branches."),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"\.downsample_layer\.", ".shortcut."),
]
CENTER_HEAD = [
    (r"dense_head\.shared_conv\.", "head.shared."),
    (r"dense_head\.heads_list\.0\.", "head.branches."),
]
TRANSFUSION_HEAD = [
    (r"dense_head\.shared_conv\.", "head.shared."),
    (r"dense_head\.heatmap_head\.0\.conv\.", "head.heatmap.0."),
    (r"dense_head\.heatmap_head\.0\.bn\.", "head.heatmap.1."),
    (r"dense_head\.heatmap_head\.1\.", "head.heatmap.3."),
    (r"dense_head\.class_encoding\.", "head.class_encoding."),
    (r"dense_head\.prediction_head\.", "head.branches."),
    (r"dense_head\.decoder\.", "head.decoder."),
    (r"\.self_posembed\.position_embedding_head\.", ".query_position."),
    (r"\.cross_posembed\.position_embedding_head\.", ".key_position."),
    (r"_position\.0\.", "_position.embed."),
    (r"_position\.1\.", "_position.norm."),
    (r"_position\.3\.", "_position.project."),
    (r"\.self_attn\.out_proj\.", ".self_project."),
    (r"\.multihead_attn\.out_proj\.", ".project."),
    (r"\.linear1\.", ".widen."),
    (r"\.linear2\.", ".narrow."),
]
BRANCH = [
    (r"\.branches\.hm\.", ".branches.heatmap."),
    (r"\.branches\.vel\.", ".branches.velocity."),
    (r"\.branches\.(\w+)\.1\.", r".branches.\1.3."),
    (r"\.branches\.(\w+)\.0\.(\d)\.", r".branches.\1.\2."),
]


def convert_detection_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for `bev` and `head` of a detector from those of the authors' `backbone_2d` and `dense_head`; others are left out.

    TransFusion's head works on maps (y, x), the authors' on (x, y), so its kernels over maps are transposed.

    Raises:
        ValueError: a tensor of those two modules that no released checkpoint has.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        if name.startswith("backbone_2d."):
            converted[_renamed(name, BACKBONE)] = tensor
        elif name.startswith(("dense_head.heads_list.", "dense_head.shared_conv.0.", "dense_head.shared_conv.1.")):
            converted[_renamed(name, CENTER_HEAD + BRANCH)] = tensor
        elif name.startswith("dense_head.") and ".in_proj_" in name:
            converted |= _projections(name, tensor)
        elif name.startswith("dense_head."):
            converted[_renamed(name, TRANSFUSION_HEAD + BRANCH)] = _in_our_layout(tensor)
    return converted


def _renamed(name: str, rules: list[tuple[str, str]]) -> str:
    new = name
    for pattern, replacement in rules:
        new = re.sub(pattern, replacement, new)
    if not new.startswith(("bev.", "head.")):
        raise ValueError(f"convert_detection_names: no released detector has a tensor named {name!r}")
    return new


def _projections(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The stacked projections of an attention to queries, keys and values, apart."""
    prefix, _, kind = name.partition(".in_proj_")
    channels = len(tensor) // 3
    if prefix == "dense_head.decoder.self_attn":  # to a single token: queries and keys have no effect
        return {f"head.decoder.self_value.{kind}": tensor[2 * channels :]}
    if prefix != "dense_head.decoder.multihead_attn":
        raise ValueError(f"convert_detection_names: no released detector has a tensor named {name!r}")
    return {f"head.decoder.query.{kind}": tensor[:channels], f"head.decoder.key_value.{kind}": tensor[channels:]}


def _in_our_layout(tensor: Tensor) -> Tensor:
    """Kernels of size 1 over proposals are linear layers here; those over maps are transposed."""
    if tensor.ndim == 3:
        return tensor[..., 0]
    return tensor.transpose(-1, -2) if tensor.ndim == 4 else tensor
