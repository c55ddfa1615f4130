"""Tensor names of the released LRGT checkpoints."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from geo3d.models.lrgt.pretrained import patch_positions

GROUPING_BLOCKS = (5, 7, 9, 11)  # of the released network
LEFT_OUT = re.compile(r"encoder\.(cls_token|dist_token)$")  # in the files, but not used
ATTENTION = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "proj.": "project.", "IFS.": "signature."}
MLP = {"mlp.fc1.": "mlp.0.", "mlp.fc2.": "mlp.2."}
RULES = [  # pattern that a name begins with, what takes its place, and what is renamed after it
    (r"encoder\.patch_embed\.proj\.", "encoder.patches.", {}),
    (r"encoder\.norm\.", "encoder.norm.", {}),
    (
        r"encoder\.blocks\.(\d+)\.",
        r"encoder.blocks.\1.",
        {"attn.": "attention.", "norm1.": "attention_norm.", "norm2.": "mlp_norm."},
    ),
    (
        r"blocks\.(\d+)\.",
        r"merger.blocks.\1.",
        {"attention_layer.": "attention.", "norm1.": "norm.", "norm2.": "mlp_norm.", "score_mlp.": "score."},
    ),
    (r"prepare\.emb\.", "decoder.queries.", {}),
    (
        r"prepare\.blocks\.(\d+)\.",
        r"decoder.query_blocks.\1.",
        {"attn1.": "self_attention.", "attn2.": "cross_attention.", "norm1.": "self_norm.", "norm2.": "cross_norm."}
        | {"norm3.": "mlp_norm."},
    ),
    (r"layer_norm\.", "decoder.norm.", {}),
    (r"transformer_decoder\.upconv4\.0\.", "decoder.classify.", {}),
]
STAGE = re.compile(r"transformer_decoder\.(blocks|upconv)(\d)\.")


def is_official(names: Iterable[str]) -> bool:
    """Whether tensor names are those of the authors' checkpoint of a whole network."""
    return any(name.startswith("transformer_decoder.") for name in names)


def convert(state_dict: Mapping[str, Tensor], grouping_blocks: Collection[int] = GROUPING_BLOCKS) -> dict[str, Tensor]:
    """State dict of ours from the authors' tensors by name, for `LRGT` or some of its parts (`encoder.`, `merger.`, `decoder.`).

    Args:
        state_dict: tensors of one or more of the three parts of a checkpoint, together.
        grouping_blocks: encoder blocks whose feature signature is used; the files hold one for every block.
    """
    converted = {}
    for name, tensor in state_dict.items():
        name = name.removeprefix("module.")
        if LEFT_OUT.match(name) or _is_unused_signature(name, grouping_blocks):
            continue
        if name == "encoder.pos_embed":
            converted["encoder.position"] = patch_positions(tensor)
        else:
            converted[_our_name(name)] = tensor
    return converted


def _is_unused_signature(name: str, grouping_blocks: Collection[int]) -> bool:
    match = re.match(r"encoder\.blocks\.(\d+)\.attn\.IFS\.", name)
    return match is not None and int(match[1]) not in grouping_blocks


def _our_name(name: str) -> str:
    for pattern, place, parts in RULES:
        match = re.match(pattern, name)
        if match:
            return match.expand(place) + _renamed(name[match.end() :], parts | MLP | ATTENTION)
    match = STAGE.match(name)
    if match is None:
        raise ValueError(f"convert_official: no released LRGT checkpoint has a tensor named {name!r}")
    level, rest = int(match[2]) - 1, name[match.end() :]
    if match[1] == "upconv":
        return f"decoder.upsamplings.{level}.{rest}"
    parts = {"attn.": "attention.", "norm1.": "attention_norm.", "norm2.": "mlp_norm."}
    return f"decoder.stages.{level}.blocks.{_renamed(rest, parts | MLP | ATTENTION)}"


def _renamed(name: str, parts: Mapping[str, str]) -> str:
    for theirs, ours in parts.items():
        name = re.sub(rf"(^|\.){re.escape(theirs)}", rf"\g<1>{ours}", name)
    return name
