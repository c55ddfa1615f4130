"""Tensor names of the released ArtEq checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from geo3d.models.arteq.encoder import KERNEL_RADIUS
from geo3d.models.arteq.group import icosahedral_group, kernel_points

ATTENTION = {
    "key_transform": "key",
    "query_transform": "query",
    "value_transform": "value",
    "head_combine": "combine",
    "self_attention_layers": "layers",
}
HEADS = {
    "shape_encoder": "shape_attention",
    "pose_encoder": "pose_attention",
    "shape_predictor.net": "shape_head",
    "pose_predictor.net": "pose_head",
    "so3_reg": "anchor_head",
    "part_encoder.fc_pos": "segmenter.embed",
    "part_encoder.fc_c": "segmenter.classify",
    # there is no block 2
    **{f"part_encoder.block_{theirs}": f"segmenter.blocks.{ours}" for ours, theirs in enumerate((0, 1, 3, 4))},
}
LAYER = {"fc_0": "first", "fc_1": "second", "shortcut": "shortcut"}
TOLERANCE = 1e-4  # of constants that are rounded differently


def is_official(names: Iterable[str]) -> bool:
    """Whether tensor names are those of the authors' checkpoint of a whole network."""
    return any(name.startswith("part_encoder.") for name in names)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ours from the authors' tensors by name; raises ValueError for a name that released checkpoints do not have.

    Biases of convolutions and the skip connection of the first block are left out: the normalisation that follows removes them. Rotations,
    kernel points and the table of neighbours are compared with ours and left out.
    """
    converted = {}
    for name, tensor in state_dict.items():
        if name.endswith((".anchors", ".intra_idx", ".kernels")):
            _check_constant(name, tensor)
            continue
        found = _block_tensor(name, tensor) if name.startswith("encoder.backbone.") else _head_tensor(name, tensor)
        if found is None:
            raise ValueError(f"convert_official: no released ArtEq checkpoint has a tensor named {name!r}")
        new, values = found
        if new:
            converted[new] = values
    return converted


def _block_tensor(name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
    """Our name, "" for what is left out, and values; None for a name that there is not."""
    match = re.fullmatch(r"encoder\.backbone\.(\d+)\.blocks\.(\d+)\.(inter_conv|intra_conv|skip_conv)\.(.+)", name)
    if match is None:
        return None
    level, block, kind, rest = match.groups()
    prefix = f"encoder.levels.{level}.{block}.{kind.removesuffix('_conv')}"
    if rest == ("bias" if kind == "skip_conv" else "conv.basic_conv.bias"):
        return "", tensor
    if kind == "skip_conv":
        is_constant = (level, block) == ("0", "0") and tensor.shape[1] == 1
        return ("" if is_constant else f"{prefix}.weight", tensor.flatten(1)) if rest == "weight" else None
    if rest != "conv.basic_conv.W":
        return None
    # inputs are numbered channel by channel, and within one by kernel point or neighbour
    size = len(kernel_points()) if kind == "inter_conv" else icosahedral_group().neighbors.shape[1]
    if tensor.shape[1] % size:
        raise ValueError(f"convert_official: {name} must have a multiple of {size} columns, got {list(tensor.shape)}")
    return f"{prefix}.weight", tensor.unflatten(1, (-1, size)).transpose(1, 2).contiguous()


def _head_tensor(name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
    for theirs, ours in HEADS.items():
        if not name.startswith(theirs + "."):
            continue
        parts = name.removeprefix(theirs + ".").split(".")
        renamed = ".".join({**ATTENTION, **LAYER}.get(part, part) for part in parts)
        return f"{ours}.{renamed}", tensor.flatten(1) if tensor.ndim == 3 else tensor
    return None


def _check_constant(name: str, tensor: Tensor) -> None:
    group = icosahedral_group()
    if name.endswith(".kernels"):
        # the radius belongs to the layer, so the shape alone is compared
        radius = tensor.norm(dim=-1).max()
        ours = kernel_points().to(tensor) * radius
        what = f"kernel points of a ball, {KERNEL_RADIUS} of its radius"
    elif name.endswith(".anchors"):
        ours, what = group.rotations.to(tensor), "rotations of the icosahedron"
    else:
        ours, what = group.neighbors.to(tensor), "neighbours of each rotation"
    if tensor.shape != ours.shape or not torch.allclose(tensor.double(), ours.double(), rtol=0, atol=TOLERANCE):
        raise ValueError(f"convert_official: {name} differs from the {what} that this network has")
