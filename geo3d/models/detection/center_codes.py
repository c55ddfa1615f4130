"""How CenterHead writes a box: [offset x, y, z, log dx, log dy, log dz, cos yaw, sin yaw] (+ vx, vy) in the cell of its centre."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.models.detection.decoding import sizes_from_logs
from geo3d.models.detection.grid import BevGrid


def encode_boxes(boxes: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor]:
    """Boxes [K, 7 or 9] with positive sizes -> codes [K, 8 or 10] and cells [K, 2] int64 (x, y).

    A centre outside the grid, or in the last half cell along x or y, is moved to half a cell before its end, as in the released code.
    """
    rows, columns = grid.shape
    last = boxes.new_tensor([columns - 0.5, rows - 0.5])
    position = torch.minimum(grid.to_cells(boxes[:, :2]).clamp(min=0), last)
    cells = position.long()
    yaw = boxes[:, 6:7]
    codes = (position - cells, boxes[:, 2:3], boxes[:, 3:6].log(), yaw.cos(), yaw.sin(), boxes[:, 7:])
    return torch.cat(codes, 1), cells


def decode_boxes(codes: Tensor, cells: Tensor, grid: BevGrid) -> Tensor:
    """The inverse of `encode_boxes`: codes [K, 8 or 10] and cells [K, 2] -> boxes [K, 7 or 9]; differentiable in `codes`."""
    offset, z, log_sizes, cos, sin, velocity = codes.split((2, 1, 3, 1, 1, codes.shape[1] - 8), 1)
    center = grid.to_meters(cells + offset)
    return torch.cat((center, z, sizes_from_logs(log_sizes), torch.atan2(sin, cos), velocity), 1)
