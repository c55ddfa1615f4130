"""Detectors of one direction on all sides: the sweep is turned under the network, and what two passes found is told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from geo3d.geometry.boxes import transform_boxes
from geo3d.models.detection import Detections
from geo3d.predict.placement import move_points, turned

QUARTERS = 4
SECTOR = np.radians(45.0 + 12.0)  # of a pass, to each side; neighbors share 24 degrees, so that nothing falls between them
NARROW = 0.5  # a range that ends on one side at less than this share of the farthest is of one direction


def faces_one_side(point_range: Sequence[float]) -> bool:
    """Whether a network looks in one direction: its range (x, y, z from, x, y, z to) ends nearby on some side."""
    reach = np.array([-point_range[0], point_range[3], -point_range[1], point_range[4]])
    return bool(reach.min() < NARROW * reach.max())


def detect_around(points: Tensor, point_range: Sequence[float], detect: Callable[[Tensor], Detections]) -> Detections:
    """Objects on all sides, the best of each class first, each once.

    Each quarter turn gives the objects within 57 degrees of the direction of the range. Of two boxes of different passes and one
    class the worse goes if one's centre lies in the other, seen from above.

    Args:
        points: [N, 3 + F] in the network's frame.
        point_range: of the network.
        detect: objects of points.
    """
    ahead = np.arctan2(point_range[1] + point_range[4], point_range[0] + point_range[3])
    boxes, scores, labels, owners = [], [], [], []
    for quarter in range(QUARTERS):
        found = detect(move_points(points, turned(-quarter * np.pi / 2))).to("cpu")
        azimuth = torch.atan2(found.boxes[:, 1], found.boxes[:, 0]) - ahead
        found = found[(torch.remainder(azimuth + np.pi, 2 * np.pi) - np.pi).abs() <= SECTOR]
        boxes.append(transform_boxes(found.boxes, turned(quarter * np.pi / 2)))
        scores.append(found.scores)
        labels.append(found.labels)
        owners.append(torch.full_like(found.labels, quarter))
    every = Detections(torch.cat(boxes), torch.cat(scores), torch.cat(labels))
    every = every[_told_once(every, torch.cat(owners))]
    order = every.scores.argsort(stable=True, descending=True)
    return every[order[every.labels[order].argsort(stable=True)]]


def _told_once(found: Detections, owners: Tensor) -> Tensor:
    """[K] bool, False for boxes that a better one of another pass stands for."""
    same = (found.labels[:, None] == found.labels) & (owners[:, None] != owners)
    double = same & (_holds(found.boxes) | _holds(found.boxes).T)
    keep = torch.ones(len(found), dtype=torch.bool)
    for row in found.scores.argsort(stable=True, descending=True).tolist():
        if keep[row]:
            keep &= ~double[row]
            keep[row] = True
    return keep


def _holds(boxes: Tensor) -> Tensor:
    """[K, K] bool: whether the footprint of the first box holds the centre of the second."""
    offset = boxes[None, :, :2] - boxes[:, None, :2]
    cos, sin = boxes[:, 6, None].cos(), boxes[:, 6, None].sin()
    along, across = offset[..., 0] * cos + offset[..., 1] * sin, offset[..., 1] * cos - offset[..., 0] * sin
    return (along.abs() <= boxes[:, 3, None] / 2) & (across.abs() <= boxes[:, 4, None] / 2)
