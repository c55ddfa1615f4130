"""Targets of CenterHead for the ground-truth boxes of a batch (CenterPoint, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from geo3d.models.detection.center_codes import encode_boxes
from geo3d.models.detection.detections import GroundTruth
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.heatmaps import draw_gaussians, gaussian_radius


@dataclass(frozen=True, eq=False)
class CenterTargets:
    """Targets of a batch with K objects of positive size.

    Attributes:
        heatmap: [B, classes, ny, nx] float32.
        codes: [K, 8 or 10] as in `center_codes`.
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
    truth: GroundTruth, grid: BevGrid, num_classes: int, *, min_overlap: float = 0.1, min_radius: int = 2
) -> CenterTargets:
    """Targets for true objects, which are left as they are.

    Args:
        truth: objects; those without a positive size are left out, those centred outside the grid are moved to its border
            (`encode_boxes`).
        grid: cells of the head's maps.
        num_classes: channels of the heatmap.
        min_overlap: sets the reach of a peak (`gaussian_radius`).
        min_radius: least reach, in cells.

    Raises:
        ValueError: on the CPU, a label outside [0, num_classes).
    """
    truth = truth.with_size()
    truth.check_labels("assign_centers", num_classes)
    boxes = truth.boxes.float()
    codes, cells = encode_boxes(boxes, grid)
    radius = object_radius(boxes, grid, min_overlap, min_radius)
    rows, columns = grid.shape
    shape = (truth.batch_size * num_classes, rows, columns)
    heatmap = draw_gaussians(shape, truth.batch_index * num_classes + truth.labels, cells, radius)
    return CenterTargets(heatmap.view(truth.batch_size, num_classes, rows, columns), codes, boxes, cells, truth.batch_index)


def object_radius(boxes: Tensor, grid: BevGrid, min_overlap: float, min_radius: int) -> Tensor:
    """Reach of each object's peak in whole cells: boxes [K, 7 or 9] -> [K] int64. The yaw does not count."""
    size_x, size_y = grid.cell_size
    return gaussian_radius(boxes[:, 3] / size_x, boxes[:, 4] / size_y, min_overlap).long().clamp(min=min_radius)
