"""Targets of CenterHead for the ground-truth boxes of a batch, and its losses by name (CenterPoint, section 4; the two of the overlap as
DSVT has them)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geo3d.models.detection.center_head import CenterOutputs, decode_boxes, encode_boxes
from geo3d.models.detection.detections import GroundTruth
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.heatmaps import draw_gaussians, heatmap_focal_loss, object_radius
from geo3d.ops import box_iou_3d


@dataclass(frozen=True, eq=False)
class CenterTargets:
    """Targets of a batch with K objects of positive size.

    Attributes:
        heatmap: [B, classes, ny, nx] float32.
        codes: [K, 8 or 10] as in `center_head.encode_boxes`.
        boxes: [K, 7 or 9] the objects themselves.
        cells: [K, 2] int64 (x, y), where the codes belong; two objects may share a cell.
        batch_index: [K] int64.
    """

    heatmap: Tensor
    codes: Tensor
    boxes: Tensor
    cells: Tensor
    batch_index: Tensor


def assign_centers(
    gt: GroundTruth, grid: BevGrid, num_classes: int, *, min_overlap: float = 0.1, min_radius: int = 2
) -> CenterTargets:
    """Targets for true objects, which are left as they are.

    Args:
        gt: objects; those without a positive size are left out, those centred outside the grid are moved to its border
            (`encode_boxes`).
        grid: cells of the head's maps.
        num_classes: channels of the heatmap.
        min_overlap: sets the reach of a peak (`gaussian_radius`).
        min_radius: least reach, in cells.

    Raises:
        ValueError: on the CPU, a label outside [0, num_classes).
    """
    gt = gt.with_size()
    gt.check_labels("assign_centers", num_classes)
    boxes = gt.boxes.float()
    codes, cells = encode_boxes(boxes, grid)
    radius = object_radius(boxes, grid, min_overlap, min_radius)
    rows, columns = grid.shape
    shape = (gt.batch_size * num_classes, rows, columns)
    heatmap = draw_gaussians(shape, gt.batch_index * num_classes + gt.labels, cells, radius)
    return CenterTargets(heatmap.view(gt.batch_size, num_classes, rows, columns), codes, boxes, cells, gt.batch_index)


@dataclass(frozen=True, eq=False)
class CenterLosses:
    """Weighted terms, scalars float32: heatmap, code of the box, predicted IoU, overlap of the box."""

    heatmap: Tensor
    loc: Tensor
    iou: Tensor
    iou_reg: Tensor

    @property
    def total(self) -> Tensor:
        return self.heatmap + self.loc + self.iou + self.iou_reg


@dataclass(frozen=True)
class CenterLoss:
    """Losses of a batch: `CenterLoss(grid)(outputs, gt)`. Without objects all terms but the heatmap's are 0.

    Attributes:
        grid: cells of the head's maps.
        heatmap_weight, loc_weight, iou_weight, iou_reg_weight: of the terms; 0 leaves a term out.
        code_weights: of the 8 or 10 numbers of a box's code; None: 1 each.
        axis_aligned: measure the overlap as if every yaw were 0, as published networks were trained.
        min_overlap, min_radius: of the heatmap's peaks (`assign_centers`).
    """

    grid: BevGrid
    heatmap_weight: float = 1.0
    loc_weight: float = 2.0
    iou_weight: float = 1.0
    iou_reg_weight: float = 2.0
    code_weights: Sequence[float] | None = None
    axis_aligned: bool = False  # published networks were trained with an overlap that takes every yaw as 0
    min_overlap: float = 0.1
    min_radius: int = 2

    def __call__(self, outputs: CenterOutputs, gt: GroundTruth) -> CenterLosses:
        """Terms for the maps of a batch and its true objects.

        Raises:
            ValueError: maps of another size than the grid, another batch size, boxes without the velocities that the head has, and on
                the CPU labels without a channel.
        """
        self.grid.check_map("CenterLoss", outputs.heatmap)
        gt = gt.for_head("CenterLoss", len(outputs.heatmap), outputs.has_velocity)
        with torch.autocast(outputs.heatmap.device.type, enabled=False):
            targets = assign_centers(
                gt, self.grid, outputs.heatmap.shape[1], min_overlap=self.min_overlap, min_radius=self.min_radius
            )
            return self.against(outputs, targets)

    def against(self, outputs: CenterOutputs, targets: CenterTargets) -> CenterLosses:
        """Terms against targets that are there already."""
        codes, pred_iou = outputs.at_cells(targets.batch_index, targets.cells)  # [K, 8 or 10], [K]
        boxes = decode_boxes(_with_heading(codes), targets.cells, self.grid)[:, :7]
        gt_boxes = targets.boxes[:, :7]
        count = max(len(gt_boxes), 1)
        weights = codes.new_tensor(self.code_weights) if self.code_weights is not None else codes.new_ones(codes.shape[1])
        iou = codes.new_zeros(())
        if pred_iou is not None and self.iou_weight:
            iou = (pred_iou - iou_target(boxes, gt_boxes)).abs().sum() / count
        overlap = codes.new_zeros(())
        if self.iou_reg_weight:
            overlap = (1 - distance_iou(boxes, gt_boxes, axis_aligned=self.axis_aligned)).sum() / count
        return CenterLosses(
            heatmap=self.heatmap_weight * heatmap_focal_loss(outputs.heatmap, targets.heatmap),
            loc=self.loc_weight * ((codes - targets.codes).abs() * weights).sum() / count,
            iou=self.iou_weight * iou,
            iou_reg=self.iou_reg_weight * overlap,
        )


def iou_target(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """2 IoU - 1 of boxes [K, 7] with true ones [K, 7], without gradient -> [K] in [-1, 1]."""
    return 2 * box_iou_3d(boxes.detach(), gt_boxes, paired=True) - 1


def distance_iou(boxes: Tensor, gt_boxes: Tensor, *, axis_aligned: bool = False) -> Tensor:
    """IoU of the volumes less the squared distance of the centres over the squared diagonal of the smallest box around both.

    The box around both is upright in the frame of the true box.

    Args:
        boxes: [K, 7], gets the gradient.
        gt_boxes: [K, 7].
        axis_aligned: take every yaw as 0.

    Returns:
        [K] in [-1, 1].
    """
    if axis_aligned:
        boxes, gt_boxes = (torch.cat((b[:, :6], torch.zeros_like(b[:, 6:])), 1) for b in (boxes, gt_boxes))
    between = boxes[:, :3] - gt_boxes[:, :3]
    cos, sin = gt_boxes[:, 6].cos(), gt_boxes[:, 6].sin()
    x, y, z = between.unbind(1)
    between = torch.stack((x * cos + y * sin, y * cos - x * sin, z), 1)  # in the frame of the true box
    turn = boxes[:, 6] - gt_boxes[:, 6]
    cos, sin = turn.cos().abs(), turn.sin().abs()
    dx, dy, dz = boxes[:, 3:6].unbind(1)
    half = torch.stack((dx * cos + dy * sin, dx * sin + dy * cos, dz), 1) / 2
    half_true = gt_boxes[:, 3:6] / 2
    extent = torch.maximum(between + half, half_true) + torch.maximum(half - between, half_true)
    distance = between.square().sum(1) / extent.square().sum(1)
    return (box_iou_3d(boxes, gt_boxes, paired=True) - distance).clamp(-1, 1)


def _with_heading(codes: Tensor) -> Tensor:
    """Codes whose (cos, sin) is nearly zero get a yaw of 0 and no gradient for it: there is no direction to improve, and the
    gradient of the angle would have no bound."""
    heading = codes[:, 6:8]
    lost = heading.square().sum(1, keepdim=True) < 1e-6
    heading = torch.where(lost, heading.new_tensor([1.0, 0.0]), heading)
    return torch.cat((codes[:, :6], heading, codes[:, 8:]), 1)
