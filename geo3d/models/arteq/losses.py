"""The loss of ArtEq.

Feng et al., "Generalizing Neural Human Fitting to Unseen Poses With Articulated SE(3) Equivariance", ICCV 2023, sec. 3.5, with the terms and
weights of the released training script.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.body.parts import part_means
from geo3d.models.arteq.group import icosahedral_group
from geo3d.models.arteq.network import BodyEstimate

TOES = (10, 11)  # parts that no point belongs to


class BodyTargets(NamedTuple):
    """What is known of the bodies of a batch.

    Attributes:
        labels: [B, N] int64 part of each point.
        rotations: [B, 22, 3, 3] of each part relative to the world.
        betas: [B, 10].
    """

    labels: Tensor
    rotations: Tensor
    betas: Tensor


class ArtEqLosses(NamedTuple):
    """Terms, already weighted: segmentation, angle, shape, part_means, anchors."""

    segmentation: Tensor
    angle: Tensor
    shape: Tensor
    part_means: Tensor
    anchors: Tensor

    @property
    def total(self) -> Tensor:
        """The sum."""
        return self.segmentation + self.angle + self.shape + self.part_means + self.anchors


class ArtEqLoss(nn.Module):
    """Terms that need no body model.

    Args:
        segmentation, angle, shape, part_mean: weights of the terms.
        as_released: as the released script does, compare the rotations of the first body of a batch alone, leave the toes out of them, and draw the
            means of parts without points to the origin. The default compares all bodies and all parts, and the means of parts with points.
        anchor: weight of a term that is not of the paper: the weighted sums of the anchor rotations should be the true rotations, times 20, before
            they are projected to rotations. Weights start nearly equal and the anchors sum to zero, so that early on the projection decides
            at random and its gradient says little; of this term the gradient is the same everywhere.
    """

    anchors: Tensor

    def __init__(
        self,
        segmentation: float = 5,
        angle: float = 5,
        shape: float = 1,
        part_mean: float = 100,
        as_released: bool = False,
        anchor: float = 0,
    ):
        super().__init__()
        self.segmentation, self.angle, self.shape, self.part_mean = segmentation, angle, shape, part_mean
        self.as_released, self.anchor = as_released, anchor
        self.register_buffer("anchors", icosahedral_group().rotations.float(), persistent=False)

    def forward(self, points: Tensor, estimate: BodyEstimate, targets: BodyTargets) -> ArtEqLosses:
        """points [B, N, 3] that were estimated -> the terms."""
        rotations = self.supervised_rotations(estimate, targets)
        compared = slice(0, 1) if self.as_released else slice(None)
        pred, expected, has_points = soft_and_labeled_means(points, estimate, targets)
        squared = (pred - expected).square()
        mean = squared.mean() if self.as_released else squared[has_points].mean()
        return ArtEqLosses(
            self.segmentation * F.cross_entropy(estimate.part_logits.flatten(0, 1), targets.labels.flatten()),
            self.angle * F.mse_loss(rotations[compared], targets.rotations[compared]),
            self.shape * F.mse_loss(estimate.betas, targets.betas),
            self.part_mean * mean,
            self.anchor * self._anchor_error(estimate.anchor_weights, targets.rotations) if self.anchor else mean.new_zeros(()),
        )

    def _anchor_error(self, weights: Tensor, rotations: Tensor) -> Tensor:
        """weights [B, 22, 60], rotations [B, 22, 3, 3] -> mean squared error of the sums; with weights tr(A^T R) of each anchor A it is 0."""
        sums = torch.einsum("bpa,aij->bpij", weights, self.anchors.to(weights)) * (3 / len(self.anchors))
        return F.mse_loss(sums, rotations)

    def supervised_rotations(self, estimate: BodyEstimate, targets: BodyTargets) -> Tensor:
        """Rotations [B, 22, 3, 3] that are compared; as released those of the toes are the targets'."""
        if not self.as_released:
            return estimate.rotations
        is_toe = torch.tensor([part in TOES for part in range(estimate.rotations.shape[1])], device=estimate.rotations.device)
        return torch.where(is_toe[:, None, None], targets.rotations, estimate.rotations)


def soft_and_labeled_means(points: Tensor, estimate: BodyEstimate, targets: BodyTargets) -> tuple[Tensor, Tensor, Tensor]:
    """Mean points [B, 22, 3] by predicted probabilities and by labels, and which parts [B, 22] have points."""
    one_hot = F.one_hot(targets.labels, estimate.part_logits.shape[-1]).to(points.dtype)
    return part_means(points, estimate.part_probabilities), part_means(points, one_hot), one_hot.any(1)


def face_normal_loss(vertices: Tensor, target: Tensor, faces: Tensor) -> Tensor:
    """Mean absolute cosine between the edges of predicted faces and the normals of the target's faces.

    Args:
        vertices, target: [B, V, 3].
        faces: [F, 3] int64.
    """
    a, b, c = (vertices[:, faces[:, corner]] for corner in range(3))
    edges = F.normalize(torch.stack((b - a, c - a, c - b)), dim=-1)
    a, b, c = (target[:, faces[:, corner]] for corner in range(3))
    normals = torch.linalg.cross(F.normalize(b - a, dim=-1), F.normalize(c - a, dim=-1))
    return (edges * F.normalize(normals, dim=-1)).sum(-1).abs().mean()


class BodyModelLosses(NamedTuple):
    """Terms of meshes, already weighted: joints, vertices, normal, markers."""

    joints: Tensor
    vertices: Tensor
    normal: Tensor
    markers: Tensor

    @property
    def total(self) -> Tensor:
        """The sum."""
        return self.joints + self.vertices + self.normal + self.markers


class BodyModelLoss(nn.Module):
    """Terms of the meshes of a body model.

    Args:
        faces: [F, 3] int64 of the model.
        markers: [K] int64 vertices of markers.
        joint, vertex, normal, marker: weights of the terms.
    """

    faces: Tensor
    markers: Tensor

    def __init__(
        self,
        faces: Tensor,
        markers: Tensor,
        joint: float = 100,
        vertex: float = 100,
        normal: float = 1,
        marker: float = 200,
    ):
        super().__init__()
        self.joint, self.vertex, self.normal, self.marker = joint, vertex, normal, marker
        self.register_buffer("faces", faces, persistent=False)
        self.register_buffer("markers", markers, persistent=False)

    def forward(self, vertices: Tensor, target_vertices: Tensor, joints: Tensor, target_joints: Tensor) -> BodyModelLosses:
        """Vertices [B, V, 3] and joints [B, J, 3], metres, of the estimate and of the target."""
        return BodyModelLosses(
            self.joint * F.mse_loss(joints, target_joints),
            self.vertex * F.mse_loss(vertices, target_vertices),
            self.normal * face_normal_loss(vertices, target_vertices, self.faces),
            self.marker * F.mse_loss(vertices[:, self.markers], target_vertices[:, self.markers]),
        )
