"""Networks of timm, cut after the coarsest map that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def feature_network(name: str, strides: Sequence[int], pretrained: bool = False) -> Any:
    """A network of timm that gives its maps at some strides, finer ones first; its `feature_info` has their channels.

    Args:
        name: of the network in timm.
        strides: how many times smaller than the image the maps are, ascending.
        pretrained: with timm's ImageNet weights, which it downloads.

    Raises:
        ValueError: a network that timm does not have, or one without such maps.
    """
    import timm

    if not timm.is_model(name):
        raise ValueError(f"feature_network: expected a network of timm, such as tf_efficientnet_lite0, got {name!r}")
    with torch.device("meta"):
        whole: Any = timm.create_model(name, features_only=True)
    found = whole.feature_info.reduction()
    if not set(strides) <= set(found):
        raise ValueError(
            f"feature_network: expected a network with maps {_listed(strides)} times smaller, {name} has {_listed(found)}"
        )
    network: Any = timm.create_model(
        name, pretrained=pretrained, features_only=True, out_indices=tuple(found.index(stride) for stride in strides)
    )
    if hasattr(network, "blocks"):  # timm keeps those that only coarser maps need
        last = int(network.feature_info.get_dicts(keys=["module"])[-1]["module"].split(".")[1])
        network.blocks = network.blocks[: last + 1]
    return network


def _listed(strides: Sequence[int]) -> str:
    return " and ".join(map(str, strides)) if len(strides) < 3 else ", ".join(map(str, strides))
