"""The equivariant encoder of ArtEq: separable convolutions over points and over the rotations of the icosahedron.

Chen et al., "Equivariant Point Network for 3D Point Cloud Analysis", CVPR 2021, sec. 4; Feng et al., "Generalizing Neural Human Fitting to
Unseen Poses With Articulated SE(3) Equivariance", ICCV 2023, sec. 3.1. Features are [B, A, P, C]: an own value for each anchor rotation.
Turning the cloud by a rotation of the group turns the anchors into each other and changes nothing else.

Convolutions have no bias and a first block has no skip connection: the normalisation that follows removes both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geo3d.models.arteq.group import icosahedral_group, kernel_points
from geo3d.models.arteq.group_conv import group_conv, normalized_leaky_relu
from geo3d.models.arteq.neighborhoods import canonical_order, neighbors_in_ball, released_samples
from geo3d.ops import gather, kernel_point_conv

KERNEL_RADIUS = 0.7  # of the radius of the ball


class PointFeatures(NamedTuple):
    """points [B, P, 3] in metres, features [B, A, P, C]."""

    points: Tensor
    features: Tensor


@dataclass(frozen=True)
class LayerSettings:
    """One separable block.

    Attributes:
        in_channels, out_channels: C of the features.
        stride: of every so many points one is kept.
        radius: of the ball of neighbours, metres.
        sigma: reach of a kernel point, square metres.
        neighbors: most neighbours of a point.
        lazy: keep the first points and not those of farthest point sampling; without `as_released` that is the same.
    """

    in_channels: int
    out_channels: int
    stride: int
    radius: float
    sigma: float
    neighbors: int
    lazy: bool


def encoder_layers(widths: Sequence[int], radius: float = 0.4, neighbors: int = 32) -> list[list[LayerSettings]]:
    """Two blocks for each level, the first of which halves the points, with the published radii.

    Args:
        widths: channels of each level; (32, 64) in ArtEq.
        radius: of the search, metres, from which those of all blocks follow: a fifth of it, times the root of two at each step.
        neighbors: most neighbours; twice as many in the first block of a level.
    """
    levels: list[list[LayerSettings]] = []
    before = 1
    for level, width in enumerate(widths):
        blocks = []
        for stride in (2, 1):
            step = 0 if level == 0 and stride == 2 else level + 1
            ball = 0.2 * 2 ** (step / 2) * radius
            blocks.append(
                LayerSettings(
                    before if stride == 2 else width,
                    width,
                    stride,
                    ball,
                    ball**2 / 2,
                    2 * neighbors if stride == 2 else neighbors,
                    lazy=not (level == 0 and stride == 2),
                )
            )
        levels.append(blocks)
        before = width
    return levels


class InterConv(nn.Module):
    """Convolution over points: each anchor looks at the neighbours through kernel points in its own orientation (EPN, eq. 8)."""

    kernel_points: Tensor

    def __init__(self, settings: LayerSettings, kernel_size: int = 24, as_released: bool = False):
        super().__init__()
        self.settings, self.as_released = settings, as_released
        self.weight = nn.Parameter(torch.empty(settings.out_channels, kernel_size, settings.in_channels))
        self.register_buffer("kernel_points", rotated_kernel(kernel_size, settings.radius), persistent=False)
        nn.init.xavier_uniform_(self.weight.data.flatten(1))

    def forward(self, inputs: PointFeatures) -> tuple[PointFeatures, Tensor | None]:
        """Features [B, A, N, C] -> [B, A, M, O] at M = ceil(N / stride) samples, and which they are, [B, M], or None for the first M."""
        points, settings = inputs.points, self.settings
        count = -(-points.shape[1] // settings.stride)
        samples = None
        if self.as_released and not settings.lazy and count < points.shape[1]:
            samples = released_samples(points, count)
        centers = points[:, :count] if samples is None else gather(points, samples)
        indices = neighbors_in_ball(centers, points, settings.radius, settings.neighbors, self.as_released)
        features = kernel_point_conv(inputs.features, points, centers, indices, self.kernel_points, settings.sigma, self.weight)
        return PointFeatures(centers, features), samples


class IntraConv(nn.Module):
    """Convolution over the group: each anchor mixes its twelve neighbours (EPN, eq. 9)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.neighbors = icosahedral_group().neighbors.tolist()
        self.weight = nn.Parameter(torch.empty(out_channels, len(self.neighbors[0]), in_channels))
        nn.init.xavier_uniform_(self.weight.data.flatten(1))

    def forward(self, features: Tensor) -> Tensor:
        """[B, A, P, C] -> [B, A, P, O]."""
        return group_conv(features, self.neighbors, self.weight)


class SeparableBlock(nn.Module):
    """Convolution over points, then over the group, beside a linear layer of the samples' own features (EPN, sec. 4.2).

    Args:
        settings: of the convolution over points.
        kernel_size: kernel points.
        skip: whether there is the linear layer.
        as_released: sampling and lists of neighbours of the released code.
    """

    def __init__(self, settings: LayerSettings, kernel_size: int = 24, skip: bool = True, as_released: bool = False):
        super().__init__()
        self.inter = InterConv(settings, kernel_size, as_released)
        self.intra = IntraConv(settings.out_channels, settings.out_channels)
        self.skip = nn.Linear(settings.in_channels, settings.out_channels, bias=False) if skip else None
        if self.skip is not None:
            nn.init.xavier_uniform_(self.skip.weight)

    def forward(self, inputs: PointFeatures) -> PointFeatures:
        """[B, A, N, C] at N points -> [B, A, M, O] at the samples."""
        outputs, samples = self.inter(inputs)
        features = normalized_leaky_relu(outputs.features)
        features = normalized_leaky_relu(self.intra(features))
        if self.skip is not None:
            own = inputs.features
            if samples is not None:
                own = torch.stack([entry[:, rows] for entry, rows in zip(own, samples, strict=True)])
            else:
                own = own[:, :, : outputs.points.shape[1]]
            features = features + normalized_leaky_relu(self.skip(own))
        return PointFeatures(outputs.points, features)


class EquivariantEncoder(nn.Module):
    """Separable blocks one after the other.

    Args:
        levels: settings of the blocks of each level.
        kernel_size: kernel points of each convolution.
        as_released: take samples and neighbours as the released code does, with which the authors' weights were trained. Its result depends
            on the order of the points and, where a point is within 3.2 cm of it, on the coordinate origin. The default depends on neither.
    """

    def __init__(self, levels: Sequence[Sequence[LayerSettings]], kernel_size: int = 24, as_released: bool = False):
        super().__init__()
        self.as_released = as_released
        self.anchors = len(icosahedral_group().rotations)
        self.levels = nn.ModuleList()
        for level in levels:
            blocks = [SeparableBlock(block, kernel_size, block.in_channels > 1, as_released) for block in level]
            self.levels.append(nn.Sequential(*blocks))

    def forward(self, points: Tensor) -> PointFeatures:
        """points [B, N, 3] -> features [B, 60, S, C] at S samples."""
        if not self.as_released:
            points = canonical_order(points)
        dtype = next(self.parameters()).dtype
        ones = torch.ones((len(points), self.anchors, points.shape[1], 1), dtype=dtype, device=points.device)
        encoded = PointFeatures(points, ones)
        for level in self.levels:
            encoded = level(encoded)
        return encoded


def rotated_kernel(size: int, radius: float) -> Tensor:
    """[60, size, 3] float32: the kernel points of a ball, turned by each anchor."""
    points = KERNEL_RADIUS * radius * kernel_points(size)
    return torch.einsum("aij,kj->aki", icosahedral_group().rotations, points).float()
