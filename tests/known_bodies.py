"""A network that knows the body it is shown, up to an error, and scans of such bodies."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from geo3d.body import PARTS, load_body_model, local_to_global, part_labels
from geo3d.body.kinematics import SMPL_PARENTS
from geo3d.data.synthetic.bodies.poses import sample_pose
from geo3d.data.synthetic.bodies.scans import ScanSettings, sample_scan
from geo3d.geometry.rotations import axis_angle_to_matrix
from geo3d.models.arteq import ArtEq, BodyEstimate
from geo3d.ops import knn
from geo3d.zoo.weights import WeightsInfo

INFO = WeightsInfo("geo3d.models.arteq.ArtEq", {}, "body_fitting", preprocessing={"num_points": 1000})


class Known(nn.Module):
    """Says what a body is, with an error of the pose, wherever it is turned to and moved."""

    local_rotations = ArtEq.local_rotations
    parents = SMPL_PARENTS[:22]

    def __init__(
        self, pose: torch.Tensor, betas: torch.Tensor, points: np.ndarray, labels: np.ndarray, turn: Rotation, error: float
    ):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        noisy = pose + error * torch.randn(22, 3, generator=torch.Generator().manual_seed(0))
        matrices = axis_angle_to_matrix(noisy)
        matrices[0] = torch.from_numpy(turn.as_matrix()).float() @ matrices[0]
        self.rotations, self.betas = local_to_global(matrices, self.parents), betas + error
        self.points, self.labels = (
            torch.from_numpy(turn.apply(points - points.mean(0)).astype(np.float32)),
            torch.from_numpy(labels),
        )

    def forward(self, points):
        nearest = knn(points[0] - points[0].mean(0), self.points - self.points.mean(0), 1).indices[:, 0]
        logits = 20 * nn.functional.one_hot(self.labels[nearest], PARTS).float()
        return BodyEstimate(logits[None], self.rotations[None], self.betas[None], torch.zeros(1, 22, 60))


def scanned(settings: ScanSettings = ScanSettings(noise=0.001), seed: int = 0, pose_name: str = "standing"):  # noqa: B008
    rng = np.random.default_rng(seed)
    pose = torch.from_numpy(sample_pose(rng, pose_name)[:22]).float()
    pose[0] = 0
    betas = torch.from_numpy(np.clip(rng.normal(0, 1, 10), -2, 2)).float()
    body = load_body_model()
    with torch.no_grad():
        vertices = body(
            betas=betas[None], global_orient=pose[:1], body_pose=torch.cat([pose[1:].flatten(), torch.zeros(6)])[None]
        ).vertices[0]
    labels = part_labels(body.lbs_weights).numpy()
    points, parts = sample_scan(vertices.numpy(), body.faces.astype(np.int64), labels, 2500, rng, settings)
    return pose, betas, points, parts
