"""The layers of RISurConv (ECCV 2024, section 3). B clouds, S centres, k neighbours, channels last."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.geometry.local_axes import reference_axis
from geo3d.models.risurconv.features import NUM_FEATURES, angular_keys, surface_features
from geo3d.ops import gather, knn

EPSILON = 1e-9  # of the second normalisation
DENSE_CENTERS = 1024  # from this many centres on, the triangles reach to the neighbours two places away


class Surface(NamedTuple):
    """Oriented points with features: positions [B, S, 3], normals [B, S, 3], features [B, S, C] or None."""

    positions: Tensor
    normals: Tensor
    features: Tensor | None


class ChannelNorm(nn.BatchNorm1d):
    """Batch norm over the last axis of a tensor of any rank."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).view(x.shape)


class OffsetAttention(nn.Module):
    """Self-attention that passes on the difference to its input; the attention weights are normalised twice.

    After the softmax, the weights are divided by their sum over the queries (`among_centers`), or, among neighbours, by the sum over
    the centres of the cloud at the same pair of slots. The released weights need both as they are.

    Args:
        channels: C.
        hidden: width of queries and keys.
        among_centers: attend among the centres [B, S, C] instead of the neighbours [B, S, k, C].
    """

    def __init__(self, channels: int, hidden: int, among_centers: bool):
        super().__init__()
        self.among_centers = among_centers
        self.query = nn.Linear(channels, hidden, bias=False)
        self.key = nn.Linear(channels, hidden, bias=False)
        self.value = nn.Linear(channels, channels)
        self.project = nn.Linear(channels, channels)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, S, k, C] or [B, S, C] -> the same shape."""
        weights = (self.query(x) @ self.key(x).transpose(-1, -2)).softmax(-1)  # [..., queries, keys]
        if self.among_centers:
            # dividing the mixture instead of the weights saves passes over the S x S matrix
            mixed = weights.transpose(-1, -2) @ self.value(x) / (EPSILON + weights.sum(-2))[..., None]
        else:
            weights = weights / (EPSILON + weights.sum(-3, keepdim=True))
            mixed = weights.transpose(-1, -2) @ self.value(x)
        return x + self.norm(self.project(x - mixed)).relu()


class SurfaceConv(nn.Module):
    """One rotation-invariant surface convolution: embed the neighbourhood, attend, mix, pool, attend among the centres.

    Args:
        in_channels: features of the source points, 0 for none.
        out_channels: features of the centres.
        embedding: width of the embedded neighbourhood; queries and keys have a quarter of it, as in the paper.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int = 64):
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(NUM_FEATURES, embedding // 2, bias=False),
            ChannelNorm(embedding // 2),
            nn.Linear(embedding // 2, embedding, bias=False),
            ChannelNorm(embedding),
            nn.ReLU(),
        )
        self.neighbor_attention = OffsetAttention(embedding, embedding // 4, among_centers=False)
        self.mix = nn.Linear(embedding + in_channels, out_channels)
        self.mix_norm = ChannelNorm(out_channels)
        self.center_attention = OffsetAttention(out_channels, out_channels // 4, among_centers=True)

    def forward(self, description: Tensor, features: Tensor | None, indices: Tensor) -> Tensor:
        """description [B, S, k, 14], features of the sources [B, P, C_in] or None, indices [B, S, k] into them -> [B, S, C_out]."""
        embedded = self.neighbor_attention(self.embed(description))
        width = embedded.shape[-1]
        mixed = F.linear(embedded, self.mix.weight[:, :width], self.mix.bias)
        if features is not None:
            # the layer is linear, so the sources are mixed once each and not once for every neighbourhood they are in
            mixed = mixed + gather(F.linear(features, self.mix.weight[:, width:]), indices)
        pooled = self.mix_norm(mixed).max(2).values.relu()
        return self.center_attention(pooled)


def describe(
    centers: Surface, sources: Surface, num_neighbors: int, as_released: bool = False, step: int | None = None
) -> tuple[Tensor, Tensor]:
    """Neighbours of each centre among the sources in angular order, and their description.

    Returns:
        indices [B, S, k] into the sources, and features [B, S, k, 14].
    """
    indices = knn(centers.positions, sources.positions, num_neighbors, order="cuda_topk" if as_released else "distance").indices
    axis = centers.normals.movedim(-1, 0)
    origin = centers.positions.movedim(-1, 0)[..., None]
    offsets = _vectors(sources.positions, indices) - origin
    circle = angular_keys(offsets, axis, as_released).sort(dim=-1, descending=True, stable=True).indices
    indices = indices.gather(-1, circle)
    offsets = offsets.gather(-1, circle.expand(3, *circle.shape))
    if step is None:
        step = 2 if centers.positions.shape[1] >= DENSE_CENTERS else 1
    return indices, surface_features(offsets, _vectors(sources.normals, indices), axis, step)


def _vectors(vectors: Tensor, indices: Tensor) -> Tensor:
    """vectors [B, P, 3] at indices [B, S, k] -> [3, B, S, k], each component in one piece of memory."""
    return gather(vectors, indices).movedim(-1, 0).contiguous()


class SetAbstraction(nn.Module):
    """Convolution from points onto a subset of them.

    Args:
        num_centers: S; the centres are the first S source points, which farthest point sampling has put in order.
        num_neighbors: k.
        in_channels, out_channels, embedding: as in `SurfaceConv`.
        as_released: order the neighbours as the released code does (see `angular_keys`).
    """

    def __init__(
        self,
        num_centers: int,
        num_neighbors: int,
        in_channels: int,
        out_channels: int,
        embedding: int = 64,
        as_released: bool = False,
    ):
        super().__init__()
        self.num_centers, self.num_neighbors, self.as_released = num_centers, num_neighbors, as_released
        self.conv = SurfaceConv(in_channels, out_channels, embedding)

    def forward(self, centers: Surface, sources: Surface) -> Surface:
        """centers [B, S, ...] without features, sources [B, P, ...] -> the centres with features [B, S, C_out]."""
        indices, description = describe(centers, sources, self.num_neighbors, self.as_released)
        return centers._replace(features=self.conv(description, sources.features, indices))


class GroupAll(nn.Module):
    """Convolution of all points into one vector around their centroid.

    Args:
        in_channels, out_channels, embedding: as in `SurfaceConv`.
        as_released: describe the points relative to the coordinate origin, not to their centroid, which is not invariant to
            translation, and order them as the released code does. Released weights were trained so.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int = 64, as_released: bool = False):
        super().__init__()
        self.as_released = as_released
        self.conv = SurfaceConv(in_channels, out_channels, embedding)

    def forward(self, points: Surface) -> Tensor:
        """points [B, P, ...] -> [B, C_out]."""
        positions = points.positions
        offsets = positions - positions.mean(1, keepdim=True)
        axis = reference_axis(offsets).t()[..., None]  # [3, B, 1]
        keys = angular_keys(offsets[:, None].movedim(-1, 0), axis, self.as_released)
        indices = keys.sort(dim=-1, descending=True, stable=True).indices  # [B, 1, P]
        described = _vectors(positions if self.as_released else offsets, indices)
        description = surface_features(described, _vectors(points.normals, indices), axis)
        return self.conv(description, points.features, indices)[:, 0]


class FeaturePropagation(nn.Module):
    """Convolution from coarse points onto fine ones, joined with what is known of the fine ones.

    Args:
        num_neighbors: k coarse neighbours of each fine point.
        in_channels: features of the coarse points.
        skip_channels: features of the fine points.
        out_channels: features of the convolution.
        mlp: widths of the layers that follow the concatenation with the skipped features.
        embedding, as_released: as in `SetAbstraction`.
    """

    def __init__(
        self,
        num_neighbors: int,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        mlp: tuple[int, ...] = (),
        embedding: int = 64,
        as_released: bool = False,
    ):
        super().__init__()
        self.num_neighbors, self.as_released = num_neighbors, as_released
        self.conv = SurfaceConv(in_channels, out_channels, embedding)
        widths = [out_channels + skip_channels, *mlp]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), ChannelNorm(after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)

    def forward(self, fine: Surface, coarse: Surface) -> Surface:
        """fine [B, S, ...] with its skipped features, coarse [B, P, ...] -> fine with features [B, S, C]."""
        indices, description = describe(fine, coarse, self.num_neighbors, self.as_released)
        features = self.conv(description, coarse.features, indices)
        if fine.features is not None:
            features = torch.cat([features, fine.features], -1)
        return fine._replace(features=self.mlp(features))
