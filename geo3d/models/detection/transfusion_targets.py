"""Hungarian matching of the proposals of TransFusion's head to ground-truth boxes (DETR; TransFusion, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geo3d.models.detection.detections import GroundTruth
from geo3d.models.detection.grid import BevGrid
from geo3d.ops import box_iou_3d

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss of the classes, here and in the loss


@dataclass(frozen=True, eq=False)
class Matching:
    """M pairs of a batch, sample by sample; M is less than the number of objects only where they outnumber the proposals.

    Attributes:
        batch_index: [M] int64.
        proposals: [M] int64, place of the proposal in its sample.
        objects: [M] int64, row of the object.
        iou: [M] float32, overlap of the two boxes as it was in the cost.
    """

    batch_index: Tensor
    proposals: Tensor
    objects: Tensor
    iou: Tensor


@dataclass(frozen=True)
class Matcher:
    """Finds the matching. The cost of a pair is its class, the distance of the centres relative to the range, and its overlap.

    Attributes:
        class_weight, center_weight, iou_weight: of the three parts.
        z_from_bottom: measure the overlap as if z were the bottom of both boxes, as the released code does.
    """

    class_weight: float = 0.15
    center_weight: float = 0.25
    iou_weight: float = 0.25
    z_from_bottom: bool = False  # the released code measures the overlap as if z were the bottom of both boxes

    @torch.no_grad()
    def __call__(self, boxes: Tensor, logits: Tensor, truth: GroundTruth, grid: BevGrid) -> Matching:
        """Match proposals to objects; the costs of the whole batch go to the CPU in one piece.

        Args:
            boxes: [B, P, 7 or 9] float32 boxes of the proposals.
            logits: [B, P, classes] float32.
            truth: objects of positive size, as wide as `boxes`.
            grid: gives the range.

        Raises:
            ValueError: costs that are not finite, as those of a network that diverged.
        """
        counts = torch.bincount(truth.batch_index, minlength=truth.batch_size).tolist()
        overlap = self._overlap(boxes, truth.boxes.split(counts))  # [K, P]
        costs = self._costs(boxes, logits, truth, overlap, grid).cpu().numpy()  # [K, P]
        samples, proposals, objects = (torch.from_numpy(part).to(boxes.device) for part in _cheapest(costs, counts))
        return Matching(samples, proposals, objects, overlap[objects, proposals])

    def _costs(self, boxes: Tensor, logits: Tensor, truth: GroundTruth, overlap: Tensor, grid: BevGrid) -> Tensor:
        """Cost [K, P] of each object with each proposal of its sample."""
        low, _, high, _ = boxes.new_tensor(grid.point_range).split((2, 1, 2, 1))
        distance = (boxes[truth.batch_index, :, :2] - truth.boxes[:, None, :2]).abs() / (high - low)  # [K, P, 2]
        own_class = logits.transpose(1, 2)[truth.batch_index, truth.labels]  # [K, P]
        return self.class_weight * _class_cost(own_class) + self.center_weight * distance.sum(-1) - self.iou_weight * overlap

    def _overlap(self, boxes: Tensor, objects: Sequence[Tensor]) -> Tensor:
        """boxes [B, P, 7 or 9], objects of each sample [K_b, 7 or 9] -> IoU of volumes [K, P]."""
        if self.z_from_bottom:
            boxes, objects = raise_by_half(boxes), [raise_by_half(true) for true in objects]
        return torch.cat([box_iou_3d(true[:, :7], own[:, :7]) for true, own in zip(objects, boxes, strict=True)])


def raise_by_half(boxes: Tensor) -> Tensor:
    """Boxes [..., 7 or 9] raised by half their height."""
    return torch.cat((boxes[..., :2], boxes[..., 2:3] + boxes[..., 5:6] / 2, boxes[..., 3:]), -1)


def _class_cost(logits: Tensor) -> Tensor:
    """What the focal loss would change by if the logits [...] of an object's class were to be 1 and not 0."""
    probability = logits.sigmoid()
    positive = -(probability + 1e-12).log() * ALPHA * (1 - probability) ** GAMMA
    negative = -(1 - probability + 1e-12).log() * (1 - ALPHA) * probability**GAMMA
    return positive - negative


def _cheapest(costs: np.ndarray, counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """costs [K, P], objects of each sample -> samples, proposals and objects of the pairs, [M] int64 each."""
    from scipy.optimize import linear_sum_assignment

    if not np.isfinite(costs).all():
        raise ValueError("Matcher: the costs of the proposals must be finite; the network diverged")
    ends = np.cumsum(counts)
    found = [linear_sum_assignment(costs[end - count : end]) for count, end in zip(counts, ends, strict=True)]
    samples = np.repeat(np.arange(len(counts)), [len(proposals) for _, proposals in found])
    proposals = np.concatenate([proposals for _, proposals in found])
    objects = np.concatenate([rows + end - count for (rows, _), count, end in zip(found, counts, ends, strict=True)])
    return samples, proposals, objects
