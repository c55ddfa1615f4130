"""Convolutional backbones of timm, and batch norms folded into the convolutions before them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

STRIDE = 32


class Backbone(nn.Module):
    """The last feature map of a network of timm.

    Args:
        name: of the network in timm.
        pretrained: download timm's weights of ImageNet.
        drop_path: rate of the residual branches left out in training; only of networks that have them.
        last_stage: take the map before the network's last convolution, which is narrower.
        pyramid: give the maps that are 8 and 16 times smaller than the image, too (`maps`); goes with `last_stage`.

    Raises:
        ValueError: a network that timm does not have, or one whose map is not 32 times smaller than the image.
    """

    def __init__(
        self, name: str, pretrained: bool = False, drop_path: float = 0.0, last_stage: bool = False, pyramid: bool = False
    ):
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise ValueError(f"Backbone: expected a network of timm, such as fastvit_ma36, got {name!r}")
        if pyramid and not last_stage:
            raise ValueError("Backbone: pyramid goes with last_stage")
        levels = (-3, -2, -1) if pyramid else (-1,)
        options: dict[str, Any] = {"features_only": True, "out_indices": levels} if last_stage else {"num_classes": 0}
        if drop_path:  # not every network has such branches
            options["drop_path_rate"] = drop_path
        network: Any = timm.create_model(name, pretrained=pretrained, **options)
        self.network = network
        self.last_stage = last_stage
        if last_stage:
            channels, stride = network.feature_info.channels()[-1], network.feature_info.reduction()[-1]
        else:
            channels = network.num_features
            if channels != getattr(network, "head_hidden_size", channels):  # a convolution after pooling, which nobody asks
                network.conv_head = nn.Identity()
            stride = network.feature_info[-1]["reduction"] if hasattr(network, "feature_info") else STRIDE
        if stride != STRIDE:
            raise ValueError(f"Backbone: expected a map {STRIDE} times smaller than the image, {name} gives one of {stride}")
        self.channels: int = channels
        self.level_channels: tuple[int, ...] = tuple(network.feature_info.channels()) if last_stage else (channels,)

    def forward(self, images: Tensor) -> Tensor:
        """images [B, 3, H, W] -> [B, C, H / 32, W / 32], rounded up."""
        return self.maps(images)[-1]

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """That map, and before it the finer ones of the pyramid where they were asked for."""
        if self.last_stage:
            return tuple(self.network(images))
        network: Any = self.network
        return (network.forward_features(images),)


def first_stages(network: nn.Module, count: int) -> tuple[nn.Module, ...]:
    """The stem and the first `count` stages of a network of timm.

    Raises:
        ValueError: a network with fewer stages, or without a list of them.
    """
    children = dict(network.named_children())
    stages = children.get("blocks", children.get("stages"))
    if not isinstance(stages, nn.Sequential) or not 0 < count <= len(stages):
        known = f"1 to {len(stages)}" if isinstance(stages, nn.Sequential) else "0 for a backbone without a list of stages"
        raise ValueError(f"first_stages: expected {known}, got {count}")
    parts = list(children.values())
    return (*parts[: parts.index(stages)], *stages[:count])


def fold_norms(network: nn.Module, images: Tensor) -> None:
    """Fold, in place, every batch norm that works on the output of a convolution into that convolution.

    Which belong together is seen in a run on `images`. The network must be in evaluation mode.
    """
    pairs = _pairs(network, images)
    for convolution, norm in pairs:
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            cast(Tensor, norm.running_mean),
            cast(Tensor, norm.running_var),
            norm.eps,
            norm.weight,
            norm.bias,
        )
        convolution.weight, convolution.bias = weight, bias
    norms = {id(norm) for _, norm in pairs}
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if id(child) in norms:
                setattr(module, name, child.act if isinstance(getattr(child, "act", None), nn.Module) else nn.Identity())


def _pairs(network: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    makers: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # outputs are kept, so that no other tensor takes their identity
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def remember(module: nn.Module, inputs: Any, output: Tensor) -> None:
        makers[id(output)] = (cast(nn.Conv2d, module), output)

    def pair(module: nn.Module, inputs: Any) -> None:
        if id(inputs[0]) in makers:
            pairs.append((makers[id(inputs[0])][0], cast(nn.BatchNorm2d, module)))

    hooks = [m.register_forward_hook(remember) for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(pair) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return pairs
