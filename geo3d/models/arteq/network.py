"""ArtEq: pose and shape of a body from its points, in one pass.

Feng et al., "Generalizing Neural Human Fitting to Unseen Poses With Articulated SE(3) Equivariance", ICCV 2023. Points are encoded
equivariantly to the rotations of the icosahedron, segmented into parts by what rotation does not change, and averaged by part. The orientation
of a part is a mean of the 60 anchor rotations, weighted by attention among them; the shape is read off what rotation does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geo3d.body.kinematics import SMPL_PARENTS, global_to_local
from geo3d.geometry.rotations import rotation_mean
from geo3d.models.arteq.encoder import EquivariantEncoder, PointFeatures, encoder_layers
from geo3d.models.arteq.group import icosahedral_group
from geo3d.models.arteq.heads import AttentionStack, PartSegmenter, two_layers
from geo3d.ops import Neighbors, interpolate, knn, scatter_sum

EPS = 1e-8  # square metres, of the inverse distances


class BodyEstimate(NamedTuple):
    """What ArtEq says about a cloud.

    Attributes:
        part_logits: [B, N, 22] scores of the parts of each point, before the softmax.
        rotations: [B, 22, 3, 3] of each part relative to the world.
        betas: [B, 10] shape coefficients.
        anchor_weights: [B, 22, 60] of which the rotations are means.
    """

    part_logits: Tensor
    rotations: Tensor
    betas: Tensor
    anchor_weights: Tensor

    @property
    def part_probabilities(self) -> Tensor:
        """[B, N, 22]."""
        return self.part_logits.softmax(-1)


class ArtEq(nn.Module):
    """Parts, pose and shape of bodies of the SMPL layout.

    Args:
        widths: channels of each level of the encoder; the published network has two levels.
        radius: of the search, metres; the balls of the blocks follow from it (`encoder_layers`).
        neighbors: most neighbours of a point, twice as many in the first block of a level.
        kernel_size: kernel points, at most 24.
        parents: tree of the parts, -1 for the root.
        kinematic_conditioning: whether the feature of a part is joined with that of its parent.
        hidden: width of the segmentation and of the pose head.
        betas: shape coefficients.
        heads: of the attention.
        as_released: sampling and neighbours of the released code, which the authors' weights need; see `EquivariantEncoder`.
    """

    anchors: Tensor

    def __init__(
        self,
        widths: Sequence[int] = (32, 64),
        radius: float = 0.4,
        neighbors: int = 32,
        kernel_size: int = 24,
        parents: Sequence[int] = SMPL_PARENTS[:22],
        kinematic_conditioning: bool = True,
        hidden: int = 128,
        betas: int = 10,
        heads: int = 8,
        as_released: bool = False,
    ):
        super().__init__()
        self.parents = tuple(parents)
        self.kinematic_conditioning = kinematic_conditioning
        parts, channels = len(self.parents), widths[-1]
        width = 2 * channels if kinematic_conditioning else channels
        self.encoder = EquivariantEncoder(encoder_layers(widths, radius, neighbors), kernel_size, as_released)
        self.segmenter = PartSegmenter(channels, parts, hidden)
        self.shape_attention = AttentionStack(width, 6, heads)
        self.shape_head = two_layers(6 * parts, betas, betas)
        self.pose_attention = AttentionStack(width, hidden, heads)
        self.pose_head = two_layers(hidden, hidden, hidden)
        self.anchor_head = nn.Linear(hidden, 1)
        self.register_buffer("anchors", icosahedral_group().rotations.float(), persistent=False)
        for module in self.modules():  # as the authors do
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, points: Tensor, part_weights: Tensor | None = None) -> BodyEstimate:
        """Estimate bodies.

        Args:
            points: [B, N, 3] of one body each, metres; y up in training. No translation is estimated.
            part_weights: [B, N, 22] in place of the predicted probabilities where points are averaged by part, as in the first epoch.

        Returns:
            `BodyEstimate`. A rotation of the cloud by an element of the icosahedral group turns `rotations` with it and leaves parts and shape
            as they are, and so does a translation; both exactly but for rounding, at which samples may change.

        Raises:
            ValueError: shapes that do not fit.
        """
        if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] == 0 or not points.is_floating_point():
            raise ValueError(
                f"ArtEq: points must be floating point [B, N, 3], N at least 1, got {points.dtype} {list(points.shape)}"
            )
        expected = (*points.shape[:2], len(self.parents))
        if part_weights is not None and part_weights.shape != expected:
            raise ValueError(f"ArtEq: part_weights must be {list(expected)}, got {list(part_weights.shape)}")
        if not self.encoder.as_released:  # in float32, coordinates keep their digits near the origin
            points = (points - points.double().mean(1, keepdim=True)).to(points.dtype)
        encoded = self.encoder(points)
        nearest = _nearest_samples(points, encoded)
        part_logits = self.segmenter(interpolate(encoded.features.mean(1), nearest, eps=EPS))
        weights = part_logits.softmax(-1) if part_weights is None else part_weights.to(part_logits.dtype)
        features = self._condition(aggregate_parts(encoded, nearest, weights))  # [B, 60, parts, C]
        betas = self.shape_head(self.shape_attention(features.mean(1)).flatten(1))
        tokens = features.transpose(1, 2)  # [B, parts, 60, C]: attention among the anchors of each part
        anchor_weights = self.anchor_head(self.pose_head(self.pose_attention(tokens.flatten(0, 1))))
        anchor_weights = anchor_weights.view(*tokens.shape[:3])
        return BodyEstimate(part_logits, rotation_mean(anchor_weights, self.anchors), betas, anchor_weights)

    def local_rotations(self, rotations: Tensor) -> Tensor:
        """Rotations [B, 22, 3, 3] relative to the world -> relative to the parent (kinematic layer)."""
        return global_to_local(rotations, self.parents)

    def _condition(self, features: Tensor) -> Tensor:
        """[B, 60, parts, C] -> [..., 2 C], the parent's feature first; the root is its own parent."""
        if not self.kinematic_conditioning:
            return features
        return torch.cat([features[:, :, [max(parent, 0) for parent in self.parents]], features], -1)


def _nearest_samples(points: Tensor, encoded: PointFeatures) -> Neighbors:
    return knn(points.detach(), encoded.points.detach(), 3)


def aggregate_parts(encoded: PointFeatures, nearest: Neighbors, part_weights: Tensor) -> Tensor:
    """Mean feature of each part: [B, 60, parts, C].

    It is the mean, weighted by `part_weights` [B, N, parts], of features that are interpolated at the points. Both being linear, the weights go
    to the samples and the features stay there, which is the same and does without features of all points.
    """
    batch, samples = len(part_weights), encoded.points.shape[1]
    shares = part_weights / part_weights.abs().sum(1, keepdim=True).clamp(min=1e-12)
    closeness = (nearest.squared_distances.to(shares) + EPS).reciprocal()
    closeness = closeness / closeness.sum(-1, keepdim=True)
    spread = (closeness[..., None] * shares[:, :, None]).flatten(0, 2)  # [B N 3, parts]
    offset = torch.arange(batch, device=spread.device)[:, None, None] * samples
    rows = torch.where(nearest.indices < 0, -1, nearest.indices + offset).flatten()
    of_samples = scatter_sum(spread, rows, batch * samples).view(batch, 1, samples, -1)
    return of_samples.transpose(2, 3) @ encoded.features
