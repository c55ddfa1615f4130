"""Crops of hands by a virtual camera, and their augmentation in training (ReJSHand, simpleHand; released code).

The order is that of the released training: box around the keypoints, shifted and enlarged at random, a random turn, the crop, mirroring,
noise of the channels, brightness and contrast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from geo3d.data.hands.samples import HandLabels, HandSample
from geo3d.geometry.virtual_camera import VirtualCamera, virtual_camera

ROOT = 9  # the root of the middle finger
WRIST = 0
EVALUATION_SCALE = 1.25  # of the box around the keypoints


@dataclass(frozen=True, eq=False)
class CropDraws:
    """The random numbers of a crop; the defaults are those of evaluation.

    Attributes:
        jitter: [2], the shift of the box, of `HandAugmentation.jitter` times its width.
        scale: of the box.
        angle: of the turn, radians.
        mirrored: whether the crop is mirrored.
        channel_factors: [3].
        contrast: factor of the pixels.
        brightness: added, of 255.
    """

    jitter: Sequence[float] | np.ndarray = (0.0, 0.0)
    scale: float = EVALUATION_SCALE
    angle: float = 0.0
    mirrored: bool = False
    channel_factors: Sequence[float] | np.ndarray = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    brightness: float = 0.0


@dataclass(frozen=True)
class HandAugmentation:
    """Ranges of the random numbers of training crops; the defaults are the published ones.

    Attributes:
        jitter: largest shift of the box, of its width.
        scale: range of the factor of the box.
        rotation: standard deviation of the turn, degrees; it is cut at 180.
        mirror: probability of mirroring. Labels then are of a left hand, which a network of right hands alone should not see.
        channel_noise: each channel is multiplied by 1 plus or minus up to this.
        contrast: pixels are multiplied by 1 plus or minus up to this.
        brightness: range of what is added, of 255.
        angle_in_radians: take the degrees of the turn for radians as the released code does, in effect a turn by any angle.
    """

    jitter: float = 0.1
    scale: Sequence[float] = field(default=(1.0, 1.5))
    rotation: float = 90.0
    mirror: float = 0.5
    channel_noise: float = 0.4
    contrast: float = 0.2
    brightness: Sequence[float] = field(default=(-0.4, 0.1))
    angle_in_radians: bool = False

    def draw(self, generator: np.random.Generator) -> CropDraws:
        """Random numbers for one crop."""
        degrees = float(np.clip(self.rotation * generator.standard_normal(), -180, 180))
        return CropDraws(
            self.jitter * generator.uniform(-1, 1, 2),
            float(generator.uniform(self.scale[0], self.scale[1])),
            degrees if self.angle_in_radians else math.radians(degrees),
            bool(generator.random() < self.mirror),
            generator.uniform(1 - self.channel_noise, 1 + self.channel_noise, 3),
            float(generator.uniform(1 - self.contrast, 1 + self.contrast)),
            float(generator.uniform(self.brightness[0], self.brightness[1])),
        )


def visible(keypoints: np.ndarray, width: int, height: int) -> np.ndarray:
    """[J] bool: keypoints [J, 2] inside an image."""
    inside = (keypoints > 0) & (keypoints < [width, height])
    return inside[..., 0] & inside[..., 1]


def keypoint_box(keypoints: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size [2] of the box around the keypoints [J, 2] that are seen [J], or around all where fewer than two are."""
    chosen = keypoints[seen] if seen.sum() > 1 else keypoints
    low, high = chosen.min(0), chosen.max(0)
    return (low + high) / 2, np.maximum(high - low, 1.0)


def hand_camera(
    labels: HandLabels, width: int, height: int, side: int, draws: CropDraws, as_released: bool = False
) -> VirtualCamera:
    """The virtual camera of a crop around the keypoints.

    Args:
        labels: of the hand.
        width, height: of the image.
        side: of the crop.
        draws: random numbers.
        as_released: see `virtual_camera`.
    """
    known = np.ones(len(labels.keypoints), bool) if labels.keypoint_valid is None else labels.keypoint_valid
    center, size = keypoint_box(labels.keypoints, visible(labels.keypoints, width, height) & known)
    if any(draws.jitter):
        center = np.clip(center + np.asarray(draws.jitter) * size[0], 0, [width, height])
    return virtual_camera(labels.camera_matrix, center, size * draws.scale, side, draws.angle, as_released)


def crop_hand(
    image: np.ndarray, labels: HandLabels, side: int, draws: CropDraws, num_vertices: int, as_released: bool = False
) -> HandSample:
    """A crop with its labels.

    Args:
        image: [H, W, 3] uint8.
        labels: of the hand in it.
        side: of the crop, pixels.
        draws: random numbers.
        num_vertices: of the mesh, zeros where it is unknown.
        as_released: see `virtual_camera`.
    """
    height, width = image.shape[:2]
    camera = hand_camera(labels, width, height, side, draws, as_released)
    keypoints = camera.to_crop(labels.keypoints)
    number = len(keypoints)
    if labels.joints is None:
        joints, root = np.zeros((number, 3)), np.zeros(3)
    else:
        joints = camera.turn(labels.joints)
        root = joints[ROOT].copy()
        joints = joints - root
    vertices = np.zeros((num_vertices, 3)) if labels.vertices is None else camera.turn(labels.vertices) - root
    if draws.mirrored:
        keypoints = np.array([side - 1, 0]) + keypoints * [-1, 1]
        joints, vertices, root = joints * [-1, 1, 1], vertices * [-1, 1, 1], root * [-1, 1, 1]
    keypoints = keypoints / side
    valid = visible(keypoints, 1, 1) & visible(labels.keypoints, width, height)
    if labels.keypoint_valid is not None:
        valid &= labels.keypoint_valid
    crop = camera.warp(image)
    if draws.mirrored:
        crop = crop[:, ::-1]
    crop = with_contrast(with_channel_factors(crop, draws.channel_factors), draws.contrast, draws.brightness)
    seen = valid[WRIST] or valid[ROOT]
    has_joints = labels.joints is not None
    return HandSample(
        torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))),
        keypoints=_tensor(keypoints),
        keypoint_valid=_tensor(valid),
        joints=_tensor(joints),
        vertices=_tensor(vertices),
        joint_valid=torch.tensor(float(has_joints)),
        mesh_valid=torch.tensor(float(seen and has_joints and labels.vertices is not None)),
        root=_tensor(root),
        camera_matrix=_tensor(camera.camera_matrix),
        rotation=_tensor(camera.rotation),
        image_transform=_tensor(camera.image_transform),
    )


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def with_channel_factors(image: np.ndarray, factors: Sequence[float] | np.ndarray) -> np.ndarray:
    """Channels of an image [H, W, 3] uint8 times factors [3], rounded and cut to 0..255."""
    if np.allclose(factors, 1):
        return image
    return np.clip(np.rint(image * np.asarray(factors, dtype=np.float32)), 0, 255).astype(np.uint8)


def with_contrast(image: np.ndarray, contrast: float, brightness: float) -> np.ndarray:
    """An image [H, W, C] uint8 times `contrast` plus `brightness` of 255, cut to 0..255 and rounded down, as albumentations 1.3.1 has it."""
    if contrast == 1 and brightness == 0:
        return image
    table = np.clip(np.arange(256, dtype=np.float32) * np.float32(contrast) + np.float32(brightness) * 255, 0, 255)
    return table.astype(np.uint8)[image]
