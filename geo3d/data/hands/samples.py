"""Crops of hands as networks take them, and what is known of a hand in an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HandLabels:
    """What is known of the hand in an image.

    Attributes:
        camera_matrix: [3, 3] of the image, pixels; one that is assumed where nothing is known.
        keypoints: [J, 2] pixels.
        joints: [J, 3] metres, camera frame, or None.
        vertices: [V, 3] likewise, or None.
        keypoint_valid: [J] bool, False where a keypoint is unknown; None for all known.
    """

    camera_matrix: np.ndarray
    keypoints: np.ndarray
    joints: np.ndarray | None = None
    vertices: np.ndarray | None = None
    keypoint_valid: np.ndarray | None = None


class HandSample(NamedTuple):
    """A crop and what the network should give for it.

    Attributes:
        image: [3, S, S] uint8 R, G, B.
        keypoints: [J, 2] in units of the crop's side.
        keypoint_valid: [J] float32, 1 where a keypoint is known and seen.
        joints: [J, 3] metres, crop camera, relative to `root`; zero where unknown.
        vertices: [V, 3] likewise.
        joint_valid: [] float32, 1 where joints are known.
        mesh_valid: [] float32, 1 where joints and vertices are known, and the hand is seen.
        root: [3] metres, the root joint in the crop camera's frame.
        camera_matrix: [3, 3] of the crop.
        rotation: [3, 3] from the axes of the image's camera to those of the crop's.
        image_transform: [3, 3] from pixels of the image to those of the crop.
    """

    image: Tensor
    keypoints: Tensor
    keypoint_valid: Tensor
    joints: Tensor
    vertices: Tensor
    joint_valid: Tensor
    mesh_valid: Tensor
    root: Tensor
    camera_matrix: Tensor
    rotation: Tensor
    image_transform: Tensor


class HandBatch(HandSample):
    """A batch: the tensors of samples, with a dimension [B] before."""


def collate_hands(samples: Sequence[HandSample]) -> HandBatch:
    """The batch of some samples."""
    return HandBatch(*(torch.stack(parts) for parts in zip(*samples, strict=True)))
