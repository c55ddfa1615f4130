"""Hungarian matching of the proposals of TransFusion's head to ground-truth boxes (DETR; TransFusion, section 3.4), and its losses by name
(the IoU branch as DSVT has it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geo3d.models.detection.detections import GroundTruth
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.heatmaps import draw_gaussians, heatmap_focal_loss, object_radius
from geo3d.models.detection.transfusion_head import TransFusionOutputs, decode_boxes, encode_boxes, proposal_codes
from geo3d.ops import box_iou_3d

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss of the classes, in the matching and in the loss


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
    def __call__(self, boxes: Tensor, logits: Tensor, gt: GroundTruth, grid: BevGrid) -> Matching:
        """Match proposals to objects; the costs of the whole batch go to the CPU in one piece.

        Args:
            boxes: [B, P, 7 or 9] float32 boxes of the proposals.
            logits: [B, P, classes] float32.
            gt: objects of positive size, as wide as `boxes`.
            grid: gives the range.

        Raises:
            ValueError: costs that are not finite, as those of a network that diverged.
        """
        counts = torch.bincount(gt.batch_index, minlength=gt.batch_size).tolist()
        overlap = self._overlap(boxes, gt.boxes.split(counts))  # [K, P]
        costs = self._costs(boxes, logits, gt, overlap, grid).cpu().numpy()  # [K, P]
        samples, proposals, objects = (torch.from_numpy(part).to(boxes.device) for part in _cheapest(costs, counts))
        return Matching(samples, proposals, objects, overlap[objects, proposals])

    def _costs(self, boxes: Tensor, logits: Tensor, gt: GroundTruth, overlap: Tensor, grid: BevGrid) -> Tensor:
        """Cost [K, P] of each object with each proposal of its sample."""
        low, _, high, _ = boxes.new_tensor(grid.point_range).split((2, 1, 2, 1))
        distance = (boxes[gt.batch_index, :, :2] - gt.boxes[:, None, :2]).abs() / (high - low)  # [K, P, 2]
        own_class = logits.transpose(1, 2)[gt.batch_index, gt.labels]  # [K, P]
        return self.class_weight * _class_cost(own_class) + self.center_weight * distance.sum(-1) - self.iou_weight * overlap

    def _overlap(self, boxes: Tensor, objects: Sequence[Tensor]) -> Tensor:
        """boxes [B, P, 7 or 9], objects of each sample [K_b, 7 or 9] -> IoU of volumes [K, P]."""
        if self.z_from_bottom:
            boxes, objects = raise_by_half(boxes), [raise_by_half(gt_boxes) for gt_boxes in objects]
        return torch.cat([box_iou_3d(gt_boxes[:, :7], own[:, :7]) for gt_boxes, own in zip(objects, boxes, strict=True)])


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


@dataclass(frozen=True, eq=False)
class TransFusionLosses:
    """Weighted terms, scalars float32: dense heatmap, classes of the proposals, their boxes, their predicted IoU.

    Attributes:
        matched_iou: mean overlap of the matched pairs, 0 without any; a figure to watch, no term.
    """

    heatmap: Tensor
    classes: Tensor
    boxes: Tensor
    iou: Tensor
    matched_iou: Tensor

    @property
    def total(self) -> Tensor:
        return self.heatmap + self.classes + self.boxes + self.iou


@dataclass(frozen=True)
class TransFusionLoss:
    """Losses of a batch: `TransFusionLoss(grid)(outputs, truth)`.

    Every proposal that is not matched is background. Without objects the terms of boxes and IoU are 0.

    Attributes:
        grid: cells of the head's maps.
        heatmap_weight, class_weight, box_weight, iou_weight: of the terms.
        code_weights: of the numbers of a box's code; velocities are left out for a head without them.
        matcher: finds the proposal of each object.
        iou_from_top: measure the overlap to predict with the top of the boxes as their center, as the released code does.
        min_overlap, min_radius: of the heatmap's peaks (`assign_centers`).
    """

    grid: BevGrid
    heatmap_weight: float = 1.0
    class_weight: float = 1.0
    box_weight: float = 0.25
    iou_weight: float = 0.5
    code_weights: Sequence[float] = (1, 1, 1, 1, 1, 1, 1, 1, 0.2, 0.2)
    matcher: Matcher = field(default_factory=Matcher)
    iou_from_top: bool = False  # the released code measures the overlap to predict with the top of the boxes as their centre
    min_overlap: float = 0.1
    min_radius: int = 2

    def __call__(self, outputs: TransFusionOutputs, gt: GroundTruth) -> TransFusionLosses:
        """Terms for the proposals of a batch and its true objects.

        Raises:
            ValueError: maps of another size than the grid, another batch size, boxes without the velocities that the head has, a
                network that diverged, and on the CPU labels without a channel.
        """
        self.grid.check_map("TransFusionLoss", outputs.dense_heatmap)
        gt = gt.for_head("TransFusionLoss", len(outputs.dense_heatmap), outputs.velocity is not None).with_size()
        gt.check_labels("TransFusionLoss", outputs.heatmap.shape[-1])
        with torch.autocast(outputs.dense_heatmap.device.type, enabled=False):
            return self._terms(outputs, replace(gt, boxes=gt.boxes.float()))

    def _terms(self, outputs: TransFusionOutputs, gt: GroundTruth) -> TransFusionLosses:
        codes, logits = proposal_codes(outputs), outputs.heatmap.float()  # [B, P, 8 or 10], [B, P, classes]
        boxes = decode_boxes(codes.detach(), self.grid)  # [B, P, 7 or 9]
        pairs = self.matcher(boxes, logits, gt, self.grid)
        at = (pairs.batch_index, pairs.proposals)
        gt_boxes = gt.boxes[pairs.objects]  # [M, 7 or 9]
        count = max(len(gt_boxes), 1)
        distance = (codes[at] - encode_boxes(gt_boxes, self.grid)).abs() * codes.new_tensor(self.code_weights)[
            : codes.shape[-1]
        ]
        peaks = draw_peaks(gt, self.grid, outputs.dense_heatmap.shape, self.min_overlap, self.min_radius)
        return TransFusionLosses(
            heatmap=self.heatmap_weight * heatmap_focal_loss(outputs.dense_heatmap, peaks),
            classes=self.class_weight * focal_loss(logits, class_target(logits, gt, pairs)) / count,
            boxes=self.box_weight * distance.sum() / count,
            iou=self.iou_weight * self._iou_term(outputs.iou.float()[at][:, 0], boxes[at], gt_boxes),
            matched_iou=pairs.iou.mean() if len(gt_boxes) else codes.new_zeros(()),
        )

    def _iou_term(self, pred: Tensor, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """predicted [M], boxes and true [M, 7 or 9] -> mean distance to 2 IoU - 1 over the pairs that overlap."""
        if self.iou_from_top:
            boxes, gt_boxes = raise_by_half(boxes), raise_by_half(gt_boxes)
        iou = box_iou_3d(boxes[:, :7], gt_boxes[:, :7], paired=True)
        overlaps = iou > 0
        return ((pred - (2 * iou - 1)).abs() * overlaps).sum() / overlaps.sum().clamp(min=1)


def class_target(logits: Tensor, gt: GroundTruth, pairs: Matching) -> Tensor:
    """1 at the class of each matched proposal, else 0: [B, P, classes] like `logits`."""
    target = torch.zeros_like(logits)
    target[pairs.batch_index, pairs.proposals, gt.labels[pairs.objects]] = 1
    return target


def draw_peaks(gt: GroundTruth, grid: BevGrid, shape: Sequence[int], min_overlap: float = 0.1, min_radius: int = 2) -> Tensor:
    """Target of the dense heatmap: `shape` [B, classes, ny, nx] float32; objects centred outside the grid leave no peak."""
    batch_size, classes, rows, columns = shape
    cells = grid.to_cells(gt.boxes[:, :2]).floor().long()
    radius = object_radius(gt.boxes, grid, min_overlap, min_radius)
    channels = gt.batch_index * classes + gt.labels
    return draw_gaussians((batch_size * classes, rows, columns), channels, cells, radius).view(
        batch_size, classes, rows, columns
    )


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of the focal loss (RetinaNet) of logits [...] against target [...] of 0 and 1, float32."""
    probability = logits.sigmoid()
    wrong = torch.where(target == 1, 1 - probability, probability)
    weight = torch.where(target == 1, ALPHA, 1 - ALPHA) * wrong**GAMMA
    return (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum()
