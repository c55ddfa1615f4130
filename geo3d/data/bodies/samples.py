"""Points on a body, and the pose and shape that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geo3d.body.parts import PARTS

NUM_BETAS = 10


class BodySample(NamedTuple):
    """Points on a body, and what should be found in them.

    Attributes:
        points: [N, 3] metres, of a body whose pelvis is at rest where its model has it (no translation).
        labels: [N] int64 part of each point (`geo3d.body.part_labels`).
        pose: [22, 3] axis-angle of each joint relative to its parent, radians; the root's relative to the world.
        betas: [10] shape coefficients.
        group: [] int64 which of the data set's groups it belongs to, for metrics by group.
    """

    points: Tensor
    labels: Tensor
    pose: Tensor
    betas: Tensor
    group: Tensor


class BodyBatch(BodySample):
    """A batch: the tensors of samples, with a dimension [B] before."""


def make_sample(points: np.ndarray, labels: np.ndarray, pose: np.ndarray, betas: np.ndarray, group: int = 0) -> BodySample:
    """A sample of arrays: pose [22 * 3 or more], betas [10 or more], of which the first are taken."""
    return BodySample(
        torch.from_numpy(np.array(points, dtype=np.float32)),
        torch.from_numpy(np.array(labels, dtype=np.int64)),
        torch.from_numpy(np.array(pose, dtype=np.float32).reshape(-1, 3)[:PARTS].copy()),
        torch.from_numpy(np.array(betas, dtype=np.float32)[:NUM_BETAS].copy()),
        torch.tensor(group),
    )


def collate_bodies(samples: Sequence[BodySample]) -> BodyBatch:
    """The batch of samples with equally many points."""
    return BodyBatch(*(torch.stack(parts) for parts in zip(*samples, strict=True)))
