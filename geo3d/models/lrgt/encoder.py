"""The encoder of LRGT (ICCV 2023, section 3.2): a vision transformer some of whose blocks attend across the views.

B samples, V views, a grid of H x H patches, P = H * H tokens a view in rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geo3d.models.feature_maps import feature_network
from geo3d.models.lrgt.attention import Attention, Block, attend


class LongRangeGroupingAttention(Attention):
    """Attention within groups that take tokens from all views, with the inter-view feature signature (sections 3.2.1 and 3.2.2).

    The token at row r and column c belongs to group (r mod G, c mod G), so that a group holds a sparse and even sample of every view.
    The signature, a depth-wise convolution of each view's values, is added to what the attention gives: it tells views apart, which
    carry no embedding of their own.

    Args:
        channels, heads, bias, dropout: as in `Attention`.
        groups: G, divides the side of the grid.
    """

    def __init__(self, channels: int, heads: int, bias: bool, groups: int, dropout: float = 0.0):
        super().__init__(channels, heads, bias, dropout)
        self.groups = groups
        self.signature = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor, views: int) -> Tensor:  # type: ignore[override]
        """x [B * V, P, C], the views of a sample one after the other -> the same shape."""
        side = round(x.shape[1] ** 0.5)
        value = self.value(x)
        grouped_query, grouped_key, grouped_value = (
            self._to_groups(y, views, side) for y in (self.query(x), self.key(x), value)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = attend(grouped_query, grouped_key, grouped_value, dropout=dropout)
        planes = value.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # channels stay last in memory
        signature = self.signature(planes).permute(0, 2, 3, 1).flatten(1, 2)
        return self.project(self._from_groups(mixed, views, side) + signature)

    def _to_groups(self, x: Tensor, views: int, side: int) -> Tensor:
        """[B * V, P, C] -> [B * G * G, heads, tokens of a group, C / heads]."""
        steps = side // self.groups
        x = x.unflatten(2, (self.heads, -1)).unflatten(1, (steps, self.groups, steps, self.groups)).unflatten(0, (-1, views))
        # batch, view, step, group, step, group, head, channel
        return x.permute(0, 3, 5, 6, 1, 2, 4, 7).flatten(4, 6).flatten(0, 2)

    def _from_groups(self, x: Tensor, views: int, side: int) -> Tensor:
        """[B * G * G, heads, tokens of a group, C / heads] -> [B * V, P, C]."""
        steps = side // self.groups
        x = x.unflatten(2, (views, steps, steps)).unflatten(0, (-1, self.groups, self.groups))
        # batch, group, group, head, view, step, step, channel
        return x.permute(0, 4, 5, 1, 6, 2, 3, 7).flatten(6, 7).flatten(2, 5).flatten(0, 1)


class FeatureStem(nn.Module):
    """A convolutional network of timm up to the map that has a cell for each patch, and a linear map to the tokens' width.

    It is not of LRGT's paper: small networks learn from far fewer images with the first stages of one that knows ImageNet.

    Args:
        name: of the network in timm, such as tf_efficientnet_lite0.
        channels: of the tokens.
        patch_size: cells of the map are so many pixels apart.

    Raises:
        ValueError: a network that timm does not have, or one without such a map.
    """

    def __init__(self, name: str, channels: int, patch_size: int):
        super().__init__()
        self.network = feature_network(name, [patch_size])
        self.project = nn.Conv2d(self.network.feature_info.channels()[-1], channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """images [B, 3, S, S] B, G, R from -1 to 1, which the network gets as R, G, B -> [B, C, S / patch, S / patch]."""
        images = images.flip(1)
        if images.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return self.project(self.network(images)[0])
        with torch.autocast("cpu", enabled=False):  # depth-wise convolutions in bfloat16 take several times as long
            features = self.network(images.to(self.project.weight.dtype).contiguous(memory_format=torch.channels_last))[0]
        return self.project(features)


class ViewEncoder(nn.Module):
    """Tokens of every view; the defaults are the published encoder.

    Args:
        image_size: of the square images, pixels.
        patch_size: pixels; divides `image_size`.
        channels: C.
        depth: blocks.
        heads: divides `channels`.
        grouping_blocks: the blocks that attend across views, from 0.
        groups: G, see `LongRangeGroupingAttention`.
        mlp_ratio: width of the perceptrons' hidden layer by C.
        bias: of the projections of queries, keys and values.
        norm_eps: of all layer norms.
        attention_dropout: in training.
        stem: network of timm whose map gives the tokens (`FeatureStem`), instead of one linear map of the patches.

    Raises:
        ValueError: sizes that do not divide, a grouping block that does not exist, or a stem without a map of this patch size.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        grouping_blocks: Sequence[int] = (5, 7, 9, 11),
        groups: int = 7,
        mlp_ratio: int = 4,
        bias: bool = True,
        norm_eps: float = 1e-6,
        attention_dropout: float = 0.0,
        stem: str | None = None,
    ):
        super().__init__()
        _check_sizes(image_size, patch_size, depth, grouping_blocks, groups)
        self.image_size, self.channels = image_size, channels
        self.grid = image_size // patch_size
        self.grouping_blocks = frozenset(grouping_blocks)
        self.patches: nn.Module
        if stem is None:
            self.patches = nn.Conv2d(3, channels, patch_size, stride=patch_size)
        else:
            self.patches = FeatureStem(stem, channels, patch_size)
        self.position = nn.Parameter(torch.zeros(1, self.grid**2, channels))
        self.blocks = nn.ModuleList()
        for i in range(depth):
            attention = (
                LongRangeGroupingAttention(channels, heads, bias, groups, attention_dropout)
                if i in self.grouping_blocks
                else Attention(channels, heads, bias, attention_dropout)
            )
            self.blocks.append(Block(attention, channels, mlp_ratio, norm_eps))
        self.norm = nn.LayerNorm(channels, eps=norm_eps)
        self._initialize()

    def _initialize(self) -> None:
        nn.init.trunc_normal_(self.position, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images [B, V, 3, S, S] -> tokens [B, V, P, C]."""
        batch, views = images.shape[:2]
        x = self.patches(images.flatten(0, 1)).flatten(2).transpose(1, 2) + self.position  # [B * V, P, C]
        for i, block in enumerate(self.blocks):
            x = block(x, views) if i in self.grouping_blocks else block(x)
        return self.norm(x).unflatten(0, (batch, views))


def _check_sizes(image_size: int, patch_size: int, depth: int, grouping_blocks: Sequence[int], groups: int) -> None:
    if patch_size < 1 or image_size < patch_size or image_size % patch_size:
        raise ValueError(f"ViewEncoder: patch_size must divide image_size {image_size}, got {patch_size}")
    side = image_size // patch_size
    if groups < 1 or side % groups:
        raise ValueError(
            f"ViewEncoder: groups must divide the {side} patches that {image_size} pixels give in a row, got {groups}"
        )
    wrong = [i for i in grouping_blocks if not 0 <= i < depth]
    if wrong:
        raise ValueError(f"ViewEncoder: grouping_blocks must be within 0 and {depth - 1}, got {wrong[0]}")
