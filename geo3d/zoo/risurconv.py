"""Tensor names of the released RISurConv checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

BLOCK = {
    "embedding": "embed",
    "self_attention_0": "neighbor_attention",
    "self_attention_1": "center_attention",
    "risurconv.0": "mix",
    "risurconv.1": "mix_norm",
    "q_conv": "query",
    "k_conv": "key",
    "v_conv": "value",
    "trans_conv": "project",
    "after_norm": "norm",
}
CLASSIFIER_HEAD = {"fc1": "head.0.0", "bn1": "head.0.1", "fc2": "head.1.0", "bn2": "head.1.1", "fc3": "classify"}
SEGMENTOR_HEAD = {"conv1": "hidden", "bn1": "norm", "conv2": "classify"}


def is_official(names: Iterable[str]) -> bool:
    """Whether tensor names are those of the authors' checkpoint of the classifier or the part segmentor."""
    return any(name.startswith(("sc0.embedding", "sa0.embedding")) for name in names)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ours from the authors' tensors by name, for the classifier and the part segmentor."""
    head = SEGMENTOR_HEAD if "conv1.weight" in state_dict else CLASSIFIER_HEAD
    converted = {}
    for name, tensor in state_dict.items():
        if name.startswith("encoder_layer."):
            continue  # the template that the transformer was copied from; never used
        new = _block_name(name) or _head_name(name, head)
        if new is None:
            raise ValueError(f"convert_official: no released RISurConv checkpoint has a tensor named {name!r}")
        is_conv = tensor.ndim > 2  # convolutions of kernel size 1 are linear layers here
        converted[new] = tensor.reshape(tensor.shape[:2]) if is_conv else tensor
    return converted


def _head_name(name: str, head: dict[str, str]) -> str | None:
    if name.startswith("transformer_encoder."):
        return name.replace("transformer_encoder.", "encoder.", 1)
    layer, _, rest = name.partition(".")
    return f"{head[layer]}.{rest}" if layer in head else None


def _block_name(name: str) -> str | None:
    match = re.match(r"(sc|sa|fp)(\d)\.(.+)", name)
    if match is None:
        return None
    kind, level, rest = match[1], int(match[2]), match[3]
    if kind == "fp":
        block = f"up_levels.{3 - level}"  # ours run from coarse to fine, as the forward pass does
    else:
        block = "group_all" if (kind, level) == ("sc", 4) else f"levels.{level}"
    if rest.startswith("mlp_"):
        layer, index, tensor = rest.split(".")
        return f"{block}.mlp.{3 * int(index) + (layer == 'mlp_bns')}.{tensor}"
    for theirs, ours in BLOCK.items():
        rest = re.sub(rf"(^|\.){re.escape(theirs)}(?=\.)", rf"\g<1>{ours}", rest)
    return f"{block}.conv.{rest}"
