"""Fitting a body model to a cloud of points."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.body.kinematics import global_to_local, local_to_global
from geo3d.body.models import load_body_model
from geo3d.body.parts import PARTS
from geo3d.data.bodies.samples import BodyBatch
from geo3d.geometry.rotations import axis_angle_to_matrix
from geo3d.metrics.body import BodyErrors
from geo3d.models.arteq import ArtEq, ArtEqLoss, BodyEstimate, BodyModelLoss, BodyTargets
from geo3d.models.arteq.markers import marker_vertices
from geo3d.tasks.base import Stage, Task
from geo3d.tasks.schedules import Schedule


class BodyFitting(Task):
    """Trains and evaluates ArtEq on clouds of bodies; the defaults are the published ones.

    Loss: that of ArtEq, with the terms of the meshes. Metrics: V2V and MPJPE in centimetres and the accuracy of the parts, over all bodies and by
    group of the data.

    Args:
        network: an `ArtEq`.
        lr, weight_decay, schedule: of Adam.
        label_epochs: epochs at the start in which points are averaged by the labels of their parts rather than by their probabilities.
        as_released: losses as the released script has them (`ArtEqLoss`), and gradients that are not finite set to zero.
        segmentation_weight, angle_weight, shape_weight, part_mean_weight: of the terms of points and parameters.
        joint_weight, vertex_weight, normal_weight, marker_weight: of the terms of the meshes.
        anchor_weight: of a term for the start of a training, which is not of the paper, see `ArtEqLoss`.

    Raises:
        ValueError: another network.
    """

    name = "body_fitting"
    monitor = "val/v2v_cm"
    monitor_mode = "min"
    shown = ("part_accuracy",)

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        schedule: Schedule | None = None,
        label_epochs: int = 1,
        as_released: bool = False,
        segmentation_weight: float = 5,
        angle_weight: float = 5,
        shape_weight: float = 1,
        part_mean_weight: float = 100,
        joint_weight: float = 100,
        vertex_weight: float = 100,
        normal_weight: float = 1,
        marker_weight: float = 200,
        anchor_weight: float = 0,
    ) -> None:
        super().__init__(network, lr, weight_decay, "adam", schedule)
        if not isinstance(network, ArtEq):
            raise ValueError(f"BodyFitting: network must be an ArtEq, got {type(network).__name__}")
        self.label_epochs, self.as_released = label_epochs, as_released
        self.point_loss = ArtEqLoss(
            segmentation_weight, angle_weight, shape_weight, part_mean_weight, as_released, anchor_weight
        )
        self.mesh_weights = (joint_weight, vertex_weight, normal_weight, marker_weight)
        self.errors = BodyErrors()

    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        # The model is constant: kept out of the modules, so that checkpoints and weights do not hold the user's licensed file.
        body = load_body_model(data.body).requires_grad_(False).to(self.device)
        self._body = (body,)
        faces = torch.from_numpy(body.faces.astype("int64"))
        self._mesh_loss = (BodyModelLoss(faces, marker_vertices(body.v_template).cpu(), *self.mesh_weights).to(self.device),)
        self.errors = BodyErrors(data.groups("test" if stage == "test" else "val")).to(self.device)

    def outputs(self, batch: BodyBatch) -> BodyEstimate:
        weights = None
        if self.training and self.current_epoch < self.label_epochs:
            weights = F.one_hot(batch.labels, PARTS).to(batch.points)
        return self.network(batch.points, weights)

    def losses(self, outputs: BodyEstimate, batch: BodyBatch) -> dict[str, Tensor]:
        targets = self._targets(batch)
        points = self.point_loss(batch.points, outputs, targets)
        rotations = self.point_loss.supervised_rotations(outputs, targets)
        vertices, joints = self._mesh(rotations, outputs.betas)
        with torch.no_grad():
            target_vertices, target_joints = self._mesh(targets.rotations, targets.betas)
        meshes = self._mesh_loss[0](vertices, target_vertices, joints, target_joints)
        return {"loss": points.total + meshes.total, **points._asdict(), **meshes._asdict()}

    def batch_size(self, batch: BodyBatch) -> int:
        return len(batch.points)

    def update_metrics(self, outputs: BodyEstimate, batch: BodyBatch) -> None:
        targets = self._targets(batch)
        found, wanted = self._mesh(outputs.rotations, outputs.betas), self._mesh(targets.rotations, targets.betas)
        vertices, joints = zip(found, wanted, strict=True)
        self.errors.update(vertices, joints, outputs.part_logits, batch.labels, batch.group)

    def compute_metrics(self, stage: Stage) -> dict[str, float]:
        figures = self.errors.compute()
        self.errors.reset()
        return figures

    def on_after_backward(self) -> None:
        if self.as_released:
            for parameter in self.network.parameters():
                if parameter.grad is not None and parameter.grad.sum().isnan():
                    parameter.grad.zero_()

    def _targets(self, batch: BodyBatch) -> BodyTargets:
        rotations = local_to_global(axis_angle_to_matrix(batch.pose), self.network.parents)  # type: ignore[arg-type]
        return BodyTargets(batch.labels, rotations, batch.betas)

    def _mesh(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices [B, V, 3] and joints [B, J, 3] for rotations [B, 22, 3, 3] relative to the world; hands are not turned."""
        [body] = self._body
        local = global_to_local(rotations, self.network.parents)  # type: ignore[arg-type]
        hands = torch.eye(3, device=local.device, dtype=local.dtype).expand(len(local), 2, 3, 3)
        pose = torch.cat([local[:, 1:], hands], 1)
        made = body(betas=betas, global_orient=local[:, :1], body_pose=pose, pose2rot=False)
        return made.vertices, made.joints
