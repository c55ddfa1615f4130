"""RISurConv: Rotation Invariant Surface Attention-Augmented Convolutions for 3D Point Cloud Classification and Segmentation.

Zhang, Yang, Xiang, ECCV 2024 (arXiv 2408.06110), sections 3.3 and 4. Where the released code is not invariant (to the order of the
points, to translation, to the other clouds of the batch), these networks are; `as_released=True` gives back its behaviour for weights
that were trained with it:

- sampling starts at the first point of the cloud instead of the one farthest from the centroid;
- the first neighbour of a list is moved to the positive side of the reference direction;
- the last layer of the classifier describes points relative to the coordinate origin instead of their centroid;
- the classifier's transformer attends among the clouds of the batch, so that scores depend on batch mates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.risurconv.layers import ChannelNorm, FeaturePropagation, GroupAll, SetAbstraction, Surface
from geo3d.ops import farthest_point_sample, gather


class RISurConvClassifier(nn.Module):
    """Classifies oriented point clouds. The defaults are the network that the paper trains on ModelNet40, less its classes.

    Args:
        num_classes: number of classes.
        centers: number of centres of each set abstraction, falling.
        neighbors: k of each set abstraction.
        channels: output channels of each set abstraction and of the last, which groups all points.
        embedding: width in which neighbourhoods are embedded.
        encoder_layers, encoder_heads, encoder_feedforward: the transformer between the last convolution and the head.
        head: widths of the two hidden layers of the head.
        dropout: of the head; the transformer has `encoder_dropout`.
        encoder_dropout: of the transformer.
        as_released: behave as the released code (see the module), for released weights.
    """

    def __init__(
        self,
        num_classes: int,
        centers: Sequence[int] = (1024, 512, 256, 128),
        neighbors: Sequence[int] = (8, 16, 32, 64),
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        embedding: int = 64,
        encoder_layers: int = 3,
        encoder_heads: int = 8,
        encoder_feedforward: int = 2048,
        head: Sequence[int] = (256, 128),
        dropout: float = 0.4,
        encoder_dropout: float = 0.05,
        as_released: bool = False,
    ):
        super().__init__()
        _check_levels(centers, neighbors, channels[:-1])
        self.as_released = as_released
        self.centers = tuple(centers)
        self.levels = _abstractions(centers, neighbors, channels[:-1], embedding, as_released)
        self.group_all = GroupAll(channels[-2], channels[-1], embedding, as_released)
        layer = nn.TransformerEncoderLayer(
            channels[-1], encoder_heads, encoder_feedforward, encoder_dropout, batch_first=True, norm_first=False
        )
        self.encoder = nn.TransformerEncoder(layer, encoder_layers, enable_nested_tensor=False)
        widths = [channels[-1], *head]
        self.head = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout))
                for before, after in zip(widths, widths[1:], strict=False)
            )
        )
        self.classify = nn.Linear(widths[-1], num_classes)

    def forward(self, points: Tensor) -> Tensor:
        """Log-probabilities of the classes.

        Args:
            points: [B, N, 6] positions and unit normals, N at least the number of centres of the first level.

        Returns:
            [B, num_classes].

        Raises:
            ValueError: a shape that does not fit, or on the CPU values that are not finite.
        """
        shape_code = self.encode(points)
        sequence = (
            shape_code[None] if self.as_released else shape_code[:, None]
        )  # [1, B, C]: among clouds; [B, 1, C]: each alone
        mixed = self.encoder(sequence).view(shape_code.shape)
        return F.log_softmax(self.classify(self.head(mixed)), dim=-1)

    def encode(self, points: Tensor) -> Tensor:
        """points [B, N, 6] -> the rotation-invariant code of each cloud [B, channels[-1]], before the transformer."""
        surface, order = _prepare(points, self.centers[0], self.as_released)
        for level, count in zip(self.levels, self.centers, strict=True):
            surface = level(_first(order, count), surface)
        return self.group_all(surface)


class RISurConvSegmentor(nn.Module):
    """Labels each point of an oriented cloud with a part. The defaults are the network that the paper trains on ShapeNetPart.

    Args:
        num_parts: number of parts over all categories.
        num_categories: number of object categories, which the network is told.
        centers, neighbors, channels: of the set abstractions, fine to coarse.
        up_neighbors, up_channels: k and convolution channels of the propagations, coarse to fine; the last is onto the input points.
        up_mlp: width after each propagation but the last.
        embedding: width in which neighbourhoods are embedded.
        hidden: width of the head.
        dropout: of the head.
        as_released: behave as the released code (see the module), for released weights.
    """

    def __init__(
        self,
        num_parts: int = 50,
        num_categories: int = 16,
        centers: Sequence[int] = (512, 256, 128, 64),
        neighbors: Sequence[int] = (8, 16, 32, 64),
        channels: Sequence[int] = (64, 128, 256, 512),
        up_neighbors: Sequence[int] = (64, 32, 32, 32),
        up_channels: Sequence[int] = (512, 512, 256, 128),
        up_mlp: Sequence[int] = (512, 256, 128),
        embedding: int = 64,
        hidden: int = 128,
        dropout: float = 0.4,
        as_released: bool = False,
    ):
        super().__init__()
        _check_levels(centers, neighbors, channels)
        if not len(up_neighbors) == len(up_channels) == len(up_mlp) + 1 == len(centers):
            raise ValueError(
                f"RISurConvSegmentor: up_neighbors and up_channels need {len(centers)} entries and up_mlp {len(centers) - 1}, "
                f"got {len(up_neighbors)}, {len(up_channels)} and {len(up_mlp)}"
            )
        self.as_released = as_released
        self.num_categories = num_categories
        self.centers = tuple(centers)
        self.levels = _abstractions(centers, neighbors, channels, embedding, as_released)
        skips = [*reversed(channels[:-1]), num_categories]
        inputs = [channels[-1], *up_mlp]
        self.up_levels = nn.ModuleList(
            FeaturePropagation(k, before, skip, out, tuple(mlp), embedding, as_released)
            for k, before, skip, out, mlp in zip(
                up_neighbors, inputs, skips, up_channels, [*([width] for width in up_mlp), []], strict=True
            )
        )
        self.hidden = nn.Linear(up_channels[-1] + num_categories, hidden)
        self.norm = ChannelNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, num_parts)

    def forward(self, points: Tensor, categories: Tensor) -> Tensor:
        """Log-probabilities of the parts.

        Args:
            points: [B, N, 6] positions and unit normals, N at least the number of centres of the first level.
            categories: [B] int64, the object category of each cloud.

        Returns:
            [B, N, num_parts].

        Raises:
            ValueError: a shape that does not fit, or on the CPU values that are not finite.
        """
        surface, order = _prepare(points, self.centers[0], self.as_released)
        if categories.shape != points.shape[:1]:
            raise ValueError(f"RISurConvSegmentor: categories must be [{len(points)}] integers, got {list(categories.shape)}")
        one_hot = F.one_hot(categories, self.num_categories).to(points.dtype)
        pyramid = [surface._replace(features=one_hot[:, None].expand(-1, points.shape[1], -1))]  # joined at the very end
        for level, count in zip(self.levels, self.centers, strict=True):
            surface = level(_first(order, count), surface)
            pyramid.append(surface)
        coarse = pyramid.pop()
        for up_level in self.up_levels:
            coarse = up_level(pyramid.pop(), coarse)
        return F.log_softmax(self.classify(self.dropout(self.norm(self.hidden(coarse.features)).relu())), dim=-1)


def _check_levels(centers: Sequence[int], neighbors: Sequence[int], channels: Sequence[int]) -> None:
    if not len(centers) == len(neighbors) == len(channels):
        raise ValueError(
            f"RISurConv: centers, neighbors and channels must fit, got {len(centers)}, {len(neighbors)} and {len(channels)} levels"
        )
    if list(centers) != sorted(centers, reverse=True):
        raise ValueError(f"RISurConv: centers must fall from level to level, got {list(centers)}")
    for level in range(1, len(centers)):
        if neighbors[level] > centers[level - 1]:
            raise ValueError(
                f"RISurConv: level {level} asks for {neighbors[level]} neighbours among {centers[level - 1]} centres; lower its neighbors"
            )


def _abstractions(
    centers: Sequence[int], neighbors: Sequence[int], channels: Sequence[int], embedding: int, as_released: bool
) -> nn.ModuleList:
    inputs = [0, *channels]
    return nn.ModuleList(
        SetAbstraction(count, k, before, after, embedding, as_released)
        for count, k, before, after in zip(centers, neighbors, inputs, channels, strict=False)
    )


def _prepare(points: Tensor, num_centers: int, as_released: bool) -> tuple[Surface, Surface]:
    """The cloud as a surface, and its `num_centers` farthest points in the order of sampling.

    Sampling the sampled points again gives a prefix of them, so the centres of all levels are prefixes of one list.
    """
    if points.ndim != 3 or points.shape[2] != 6:
        raise ValueError(f"RISurConv: points must be [B, N, 6] (positions and unit normals), got {list(points.shape)}")
    if points.shape[1] < num_centers:
        raise ValueError(f"RISurConv: clouds need at least {num_centers} points, got {points.shape[1]}")
    if points.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(torch.isfinite(points).all()):
        raise ValueError("RISurConv: points must be finite, got NaN or infinity")
    positions, normals = points[..., :3], points[..., 3:]
    if as_released:
        picks = farthest_point_sample(positions, num_centers, ties="cuda")
    else:
        offsets = positions.double() - positions.double().mean(1, keepdim=True)
        picks = farthest_point_sample(positions, num_centers, start=offsets.square().sum(-1).argmax(1))
    order = Surface(gather(positions, picks), gather(normals, picks), None)
    return Surface(positions, normals, None), order


def _first(order: Surface, count: int) -> Surface:
    return Surface(order.positions[:, :count], order.normals[:, :count], None)
