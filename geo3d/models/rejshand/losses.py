"""The losses of ReJSHand's training (released code): absolute differences of 2D keypoints, joints and vertices."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from geo3d.models.rejshand.network import HandOutput


@dataclass(frozen=True)
class HandTargets:
    """What crops should give.

    Attributes:
        keypoints: [B, J, 2], in units of the crop's sides.
        keypoint_valid: [B, J] 1 where a keypoint is known and seen, else 0.
        joints: [B, J, 3] metres, relative to the root joint.
        vertices: [B, V, 3] likewise.
        mesh_valid: [B] 1 where joints and vertices are known, else 0.
    """

    keypoints: Tensor
    keypoint_valid: Tensor
    joints: Tensor
    vertices: Tensor
    mesh_valid: Tensor


@dataclass(frozen=True)
class HandLosses:
    """Terms of the loss, weighted, and their sum."""

    keypoints: Tensor
    joints: Tensor
    vertices: Tensor

    @property
    def total(self) -> Tensor:
        """The sum."""
        return self.keypoints + self.joints + self.vertices


def hand_losses(
    output: HandOutput,
    targets: HandTargets,
    keypoint_weight: float = 1.0,
    joint_weight: float = 10.0,
    vertex_weight: float = 10.0,
    over_valid: bool = False,
) -> HandLosses:
    """Sums of absolute differences of the coordinates, in mean over points and samples.

    Args:
        output: of the network.
        targets: of the same batch.
        keypoint_weight, joint_weight, vertex_weight: of the terms.
        over_valid: divide by the number of valid points rather than by that of all; published is the latter, whose gradients shrink with
            every sample that lacks something.
    """
    share = targets.keypoint_valid.mean().clamp(min=1e-6) if over_valid else 1
    known = targets.mesh_valid.mean().clamp(min=1e-6) if over_valid else 1
    keypoints = (targets.keypoint_valid * (output.keypoints - targets.keypoints).abs().sum(-1)).mean() / share
    terms = []
    for found, wanted in ((output.joints, targets.joints), (output.vertices, targets.vertices)):
        terms.append((targets.mesh_valid * (found - wanted).abs().sum(-1).mean(-1)).mean() / known)
    return HandLosses(keypoint_weight * keypoints, joint_weight * terms[0], vertex_weight * terms[1])
