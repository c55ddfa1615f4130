"""Weights of an image classifier as the start of LRGT's encoder (ICCV 2023, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from geo3d.models.lrgt.encoder import ViewEncoder

DEIT = "deit_base_distilled_patch16_224"
NAMES = {  # of timm's vision transformers, and ours
    "patch_embed.proj.": "patches.",
    ".norm1.": ".attention_norm.",
    ".norm2.": ".mlp_norm.",
    ".attn.": ".attention.",
    ".proj.": ".project.",
    ".fc1.": ".0.",
    ".fc2.": ".2.",
}


def load_deit(encoder: ViewEncoder, name: str = DEIT, pretrained: bool = True) -> None:
    """Fill an encoder with the weights of a vision transformer of timm, but for the feature signatures, which keep their start.

    DeiT was trained on R, G, B with ImageNet's statistics. LRGT gives it B, G, R from -1 to 1 all the same, as published.

    Args:
        encoder: of the transformer's width, depth and patch size; its images may have another size.
        name: of the model in timm, which downloads the weights on first use.
        pretrained: False gives the model's own random start, for tests.

    Raises:
        ValueError: a model that timm does not have, or an encoder of another width, depth or patch size.
    """
    import timm

    if not timm.is_model(name):
        raise ValueError(f"load_deit: expected a model of timm, such as {DEIT}, got {name!r}")
    tensors = encoder_tensors(timm.create_model(name, pretrained=pretrained).state_dict())
    tensors["position"] = _resized(tensors["position"], encoder.grid)
    own = {key: tensor for key, tensor in encoder.state_dict().items() if ".signature." not in key}
    wrong = [key for key in sorted(own.keys() | tensors.keys()) if _shape(own, key) != _shape(tensors, key)]
    if wrong:
        ours, theirs = _shape(own, wrong[0]), _shape(tensors, wrong[0])
        raise ValueError(f"load_deit: {name} does not fit the encoder: {wrong[0]} is {theirs} there and {ours} here")
    encoder.load_state_dict(tensors, strict=False)


def encoder_tensors(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a `ViewEncoder` from those of a vision transformer of timm; class tokens and classifiers are left out."""
    tensors = {}
    for name, tensor in state_dict.items():
        if name.startswith(("head", "cls_token", "dist_token")):
            continue
        if name == "pos_embed":
            tensors["position"] = patch_positions(tensor)
            continue
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        if ".qkv." in name:
            parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            tensors |= {name.replace("qkv", part): rows for part, rows in parts}
        else:
            tensors[name] = tensor
    return tensors


def patch_positions(table: Tensor) -> Tensor:
    """Rows of a position table [1, T + H * H, C] that stand for patches [1, H * H, C]; those of a few class tokens come before them."""
    return table[:, table.shape[1] - math.isqrt(table.shape[1]) ** 2 :]


def _resized(positions: Tensor, grid: int) -> Tensor:
    side = math.isqrt(positions.shape[1])
    if side == grid:
        return positions
    planes = positions.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return F.interpolate(planes, (grid, grid), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)


def _shape(tensors: Mapping[str, Tensor], name: str) -> list[int] | None:
    return list(tensors[name].shape) if name in tensors else None
