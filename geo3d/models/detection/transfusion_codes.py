"""How TransFusion's head writes a box: [x, y in cells, top, log dx, log dy, log dz, sin yaw, cos yaw] (+ vx, vy)."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.models.detection.decoding import sizes_from_logs
from geo3d.models.detection.grid import BevGrid


def encode_boxes(boxes: Tensor, grid: BevGrid) -> Tensor:
    """Boxes [..., 7 or 9] with positive sizes -> codes [..., 8 or 10]."""
    yaw = boxes[..., 6:7]
    top = boxes[..., 2:3] + boxes[..., 5:6] / 2
    codes = (grid.to_cells(boxes[..., :2]), top, boxes[..., 3:6].log(), yaw.sin(), yaw.cos(), boxes[..., 7:])
    return torch.cat(codes, -1)


def decode_boxes(codes: Tensor, grid: BevGrid) -> Tensor:
    """The inverse of `encode_boxes`: codes [..., 8 or 10] -> boxes [..., 7 or 9]; differentiable."""
    center, top, log_sizes, sin, cos, velocity = codes.split((2, 1, 3, 1, 1, codes.shape[-1] - 8), -1)
    sizes = sizes_from_logs(log_sizes)
    center_z = top - sizes[..., 2:] / 2
    return torch.cat((grid.to_meters(center), center_z, sizes, torch.atan2(sin, cos), velocity), -1)
