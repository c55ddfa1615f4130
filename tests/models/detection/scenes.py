"""Small scenes for the tests of the detection heads: a rectangular grid, true objects, and maps that tell them."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.models.detection import BevGrid, CenterOutputs, GroundTruth, TransFusionOutputs
from geo3d.models.detection.center_head import encode_boxes as encode_center
from geo3d.models.detection.transfusion_head import encode_boxes as encode_transfusion

GRID = BevGrid((0.0, -2.0, -2.0, 8.0, 2.0, 2.0), (0.25, 0.25, 4.0), stride=2)  # 8 rows, 16 columns of half a metre
CAR = [2.6, 0.1, 0.3, 1.5, 0.5, 1.0, 0.4]  # cell (5, 4)
WALKER = [6.9, -1.4, 0.2, 0.4, 0.6, 1.7, -2.0]  # cell (13, 1)


def objects(*samples: list[tuple[list[float], int]]) -> GroundTruth:
    """True objects of each sample as (box, label)."""
    boxes = [torch.tensor([box for box, _ in sample]).view(-1, 7) for sample in samples]
    labels = [torch.tensor([label for _, label in sample], dtype=torch.int64) for sample in samples]
    return GroundTruth.from_samples(boxes, labels)


def center_maps(
    boxes: Tensor, labels: Tensor, logits: Tensor | None = None, iou: float = 1.0, classes: int = 3, grid: BevGrid = GRID
) -> CenterOutputs:
    """Maps of one sample whose heatmap has the logits (5) at the boxes' cells and -9 elsewhere."""
    codes, cells = encode_center(boxes, grid)
    rows, columns = grid.shape
    x, y = cells.unbind(1)
    heatmap = torch.full((1, classes, rows, columns), -9.0)
    heatmap[0, labels, y, x] = 5.0 if logits is None else logits
    values = torch.zeros(1, codes.shape[1], rows, columns)
    values[0, :, y, x] = codes.t()
    center, center_z, dim, rot = values[:, :8].split((2, 1, 3, 2), 1)
    velocity = values[:, 8:] if codes.shape[1] == 10 else None
    return CenterOutputs(heatmap, center, center_z, dim, rot, torch.full((1, 1, rows, columns), iou), velocity)


def proposals(boxes: Tensor, labels: Tensor, logits: Tensor, iou: float = 1.0, classes: int = 3) -> TransFusionOutputs:
    """Proposals [B, P] with these boxes [B, P, 7], classes and class logits [B, P]; peaks of height 1."""
    codes = encode_transfusion(boxes, GRID)
    center, height, dim, rot = codes.split((2, 1, 3, 2), -1)
    heatmap = torch.full((*labels.shape, classes), -9.0).scatter(2, labels[..., None], logits[..., None])
    return TransFusionOutputs(
        center,
        height,
        dim,
        rot,
        heatmap,
        iou=torch.full((*labels.shape, 1), iou),
        velocity=None,
        query_cells=center.floor().long(),
        query_labels=labels,
        query_scores=torch.ones(labels.shape),
        dense_heatmap=torch.full((len(labels), classes, *GRID.shape), -4.0),
    )
