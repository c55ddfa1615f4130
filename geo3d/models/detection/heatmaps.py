"""Heatmaps of object centres: how far a peak reaches, drawing, and the loss (CornerNet, CenterNet; used by both heads)."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.models.detection.grid import BevGrid


def gaussian_radius(length: Tensor, width: Tensor, min_overlap: float) -> Tensor:
    """How far, in cells, a box's corners may be off with its overlap still `min_overlap`; length, width [K] in cells -> [K].

    The smallest of three cases, as published with CornerNet; its roots lack the division by twice the leading coefficient, and all
    heads that follow it are tuned to that.
    """
    total, area = length + width, length * width
    shifted = area * (1 - min_overlap) / (1 + min_overlap)
    first = (total + (total**2 - 4 * shifted).clamp(min=0).sqrt()) / 2
    inner = area * (1 - min_overlap)
    second = (2 * total + (4 * total**2 - 16 * inner).clamp(min=0).sqrt()) / 2
    slope = 2 * min_overlap * total
    third = (-slope + (slope**2 + 16 * min_overlap * inner).sqrt()) / 2
    return torch.minimum(torch.minimum(first, second), third)


def object_radius(boxes: Tensor, grid: BevGrid, min_overlap: float, min_radius: int) -> Tensor:
    """Reach of each object's peak in whole cells: boxes [K, 7 or 9] -> [K] int64. The yaw does not count."""
    size_x, size_y = grid.cell_size
    return gaussian_radius(boxes[:, 3] / size_x, boxes[:, 4] / size_y, min_overlap).long().clamp(min=min_radius)


def draw_gaussians(shape: tuple[int, int, int], channels: Tensor, cells: Tensor, radius: Tensor) -> Tensor:
    """Heatmap with a peak of exactly 1 at each cell, falling as a Gaussian of a sixth of the diameter; overlaps by maximum.

    Args:
        shape: channels, rows ny and columns nx.
        channels: [K] int64, the channel of each peak.
        cells: [K, 2] int64 (x, y); a peak outside the map is cut off.
        radius: [K] int64, in cells; zero beyond it along x or along y.

    Returns:
        [channels, ny, nx] float32. The result is the same in any order of the peaks.
    """
    count, rows, columns = shape
    heatmap = torch.zeros(count * rows * columns, device=cells.device)
    if not len(cells):
        return heatmap.view(shape)
    reach = int(radius.max())
    steps = torch.arange(-reach, reach + 1, device=cells.device)  # [S]
    sigma = (2 * radius[:, None] + 1) / 6
    profile = (-(steps**2) / (2 * sigma**2)).exp() * (steps.abs() <= radius[:, None])  # [K, S]
    x, y = (cells[:, :, None] + steps).unbind(1)  # [K, S] each
    row = profile * ((y >= 0) & (y < rows))
    column = profile * ((x >= 0) & (x < columns))
    place = (channels[:, None] * rows + y.clamp(0, rows - 1))[:, :, None] * columns + x.clamp(0, columns - 1)[:, None]
    values = row[:, :, None] * column[:, None]  # [K, S, S], zero outside the map
    return heatmap.scatter_reduce_(0, place.flatten(), values.flatten(), "amax").view(shape)


def heatmap_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Penalty-reduced focal loss (CornerNet) over all cells, divided by the number of peaks, or undivided without any.

    Args:
        logits: [...] any floating point type; the loss is in float32, also under autocast.
        target: [...] heatmap in [0, 1], exactly 1 at the peaks.

    Returns:
        Scalar float32. Cells close to a peak count less by (1 - target)^4.
    """
    with torch.autocast(logits.device.type, enabled=False):
        probability = logits.float().sigmoid().clamp(1e-4, 1 - 1e-4)
        is_peak = target == 1
        at_peak = probability.log() * (1 - probability) ** 2
        elsewhere = (1 - probability).log() * probability**2 * (1 - target) ** 4
        return -torch.where(is_peak, at_peak, elsewhere).sum() / is_peak.sum().clamp(min=1)
