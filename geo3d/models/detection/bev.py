"""From voxels to a bird's-eye-view map, and the residual 2D backbone of CenterPoint and DSVT. Maps are [B, C, y, x]."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from geo3d.models.detection.norms import ConvNorm, ConvNormReLU, conv_norm_relu

BatchNorm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)  # of the published configurations, as in CenterHead


def scatter_to_bev(features: Tensor, coords: Tensor, batch_size: int, shape: tuple[int, int]) -> Tensor:
    """Dense map of the voxels of one layer, zero where there is none.

    Args:
        features: [V, C].
        coords: [V, 4] integers (batch, z, y, x), z all 0, each voxel once.
        batch_size: B; samples without voxels get an empty map.
        shape: rows ny and columns nx.

    Returns:
        [B, C, ny, nx]. Differentiable in `features`.
    """
    batch, _, y, x = coords.long().unbind(1)
    canvas = features.new_zeros((batch_size * shape[0] * shape[1], features.shape[1]))
    canvas = canvas.index_copy(0, (batch * shape[0] + y) * shape[1] + x, features)
    bev = canvas.view(batch_size, *shape, -1).permute(0, 3, 1, 2)
    # channels last is the layout that tensor cores and CPUs' convolutions want; but on the CPU training's batch norm sums less
    # exactly in it, and wins nothing
    return bev.contiguous() if bev.device.type == "cpu" and bev.requires_grad else bev


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected if the width or the resolution changes.

    Args:
        in_channels, channels: widths.
        stride: of the first convolution.
        project: put a 1x1 convolution on the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, project: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = BatchNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = BatchNorm(channels)
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = ConvNorm(nn.Conv2d(in_channels, channels, 1, stride, bias=False), BatchNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C_in, y, x] -> [B, C, y / stride, x / stride]."""
        update = conv_norm_relu(self.conv1, self.norm1, x)
        return conv_norm_relu(self.conv2, self.norm2, update, self.shortcut(x))


class BevBackbone(nn.Module):
    """Levels of residual blocks at falling resolution, each brought to a common resolution by an up-branch, side by side.

    The defaults are those of DSVT on Waymo.

    Args:
        in_channels: width of the map.
        blocks: residual blocks of each level beside the one that opens it.
        strides: of the block that opens each level.
        channels: width of each level.
        up_strides: of each up-branch; less than 1 (the inverse of a whole number) shrinks.
        up_channels: width of each up-branch.

    Raises:
        ValueError: lists of different lengths, or up-branches that end at different resolutions.
    """

    def __init__(
        self,
        in_channels: int,
        blocks: Sequence[int] = (1, 2, 2),
        strides: Sequence[int] = (1, 2, 2),
        channels: Sequence[int] = (128, 128, 256),
        up_strides: Sequence[float] = (1, 2, 4),
        up_channels: Sequence[int] = (128, 128, 128),
    ):
        super().__init__()
        lengths = [len(values) for values in (blocks, strides, channels, up_strides, up_channels)]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise ValueError(
                f"BevBackbone: blocks, strides, channels, up_strides and up_channels must be as many, got {lengths}"
            )
        self.reduction = 1  # cells of the input along an axis to cells of the deepest level
        ratios = []
        self.levels, self.up_branches = nn.ModuleList(), nn.ModuleList()
        for count, stride, width, up_stride, up_width in zip(blocks, strides, channels, up_strides, up_channels, strict=True):
            rest = [ResidualBlock(width, width) for _ in range(count)]
            self.levels.append(nn.Sequential(ResidualBlock(in_channels, width, stride, project=True), *rest))
            self.up_branches.append(_up_branch(width, up_width, up_stride))
            in_channels = width
            self.reduction *= stride
            ratios.append(self.reduction / up_stride)
        if max(ratios) - min(ratios) > 1e-6:
            raise ValueError(
                f"BevBackbone: all up-branches must end at one resolution, got strides {ratios} relative to the input"
            )
        self.stride = round(ratios[0])
        self.out_channels = sum(up_channels)

    def forward(self, bev: Tensor) -> Tensor:
        """bev [B, C_in, y, x] -> [B, out_channels, y / stride, x / stride].

        Raises:
            ValueError: a map that does not divide by the reduction of the deepest level.
        """
        if bev.shape[-2] % self.reduction or bev.shape[-1] % self.reduction:
            raise ValueError(f"BevBackbone: rows and columns must be multiples of {self.reduction}, got {list(bev.shape[-2:])}")
        branches = []
        for level, up in zip(self.levels, self.up_branches, strict=True):
            bev = level(bev)
            branches.append(up(bev))
        return torch.cat(branches, 1)


def _up_branch(in_channels: int, channels: int, stride: float) -> ConvNormReLU:
    kernel = round(stride if stride >= 1 else 1 / stride)
    if kernel < 1 or abs(kernel - (stride if stride >= 1 else 1 / stride)) > 1e-6:
        raise ValueError(f"BevBackbone: an up-branch's stride must be a whole number or the inverse of one, got {stride}")
    conv = nn.ConvTranspose2d if stride >= 1 else nn.Conv2d
    return ConvNormReLU(conv(in_channels, channels, kernel, kernel, bias=False), BatchNorm(channels), nn.ReLU())
