"""Augmentation of LiDAR frames: points and boxes move together.

Every function takes a `LidarSample` and returns a new one. What is random draws from a `numpy.random.Generator` that the caller
passes. Boxes of other classes (`other_boxes`) move too; images no longer fit a moved scene and are left out. The published
detectors apply flips, rotation, scaling and translation in this order, after ground-truth sampling (`geo3d.data.lidar.gt_sampling`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from geo3d.data.lidar.sweeps import LidarSample
from geo3d.geometry.boxes import wrap_angle

FlipAxis = Literal["x", "y"]
LidarAugmentationName = Literal["gt_sampling", "flip", "rotation", "scaling", "translation"]
EVERY_AUGMENTATION: tuple[LidarAugmentationName, ...] = get_args(LidarAugmentationName)


@dataclass(frozen=True)
class LidarAugmentation:
    """Ranges of the augmentations; the defaults are DSVT's for Waymo.

    Attributes:
        flip_axes: axes over which the scene is mirrored, each with probability 1/2; "x" mirrors y.
        rotation: largest angle about z, radians; 0 for none.
        scaling: smallest and largest factor.
        translation: standard deviation along each axis, metres; 0 for none.
        disabled: augmentations that are off in the last epochs of a training, ground-truth sampling among them.
        disabled_epochs: how many epochs those are.
    """

    flip_axes: tuple[FlipAxis, ...] = ("x", "y")
    rotation: float = np.pi / 4
    scaling: tuple[float, float] = (0.95, 1.05)
    translation: float = 0.5
    disabled: tuple[LidarAugmentationName, ...] = EVERY_AUGMENTATION
    disabled_epochs: int = 0

    def __post_init__(self) -> None:
        if not set(self.flip_axes) <= set(get_args(FlipAxis)):
            raise ValueError(f"LidarAugmentation: flip_axes takes 'x' and 'y', got {list(self.flip_axes)}")
        if self.rotation < 0 or self.translation < 0:
            raise ValueError(f"LidarAugmentation: expected no negative range, got {self.rotation} and {self.translation}")
        if len(self.scaling) != 2 or not 0 < self.scaling[0] <= self.scaling[1]:
            raise ValueError(f"LidarAugmentation: scaling must be 0 < low <= high, got {list(self.scaling)}")
        if not set(self.disabled) <= set(EVERY_AUGMENTATION) or self.disabled_epochs < 0:
            got = f"{list(self.disabled)} for {self.disabled_epochs}"
            raise ValueError(
                f"LidarAugmentation: disabled takes names of {list(EVERY_AUGMENTATION)} for 0 or more epochs, got {got}"
            )


def augment_lidar(
    sample: LidarSample,
    generator: np.random.Generator,
    ranges: LidarAugmentation,
    without: Collection[LidarAugmentationName] = (),
) -> LidarSample:
    """Flips, rotation, scaling and translation in this order, but for those named in `without`; headings end in [-pi, pi)."""
    if "flip" not in without:
        sample = flip(sample, generator, ranges.flip_axes)
    if "rotation" not in without and ranges.rotation > 0:
        sample = rotate(sample, generator, ranges.rotation)
    if "scaling" not in without and tuple(ranges.scaling) != (1, 1):
        sample = scale(sample, generator, *ranges.scaling)
    if "translation" not in without and ranges.translation > 0:
        sample = translate(sample, generator, ranges.translation)
    return wrap_headings(sample)


def flip(sample: LidarSample, generator: np.random.Generator, axes: Sequence[FlipAxis] = ("x", "y")) -> LidarSample:
    """Mirror the scene over each axis with probability 1/2: over x, y becomes -y; over y, x becomes -x."""
    for axis in axes:
        if generator.random() < 0.5:
            sample = flipped(sample, axis)
    return sample


def flipped(sample: LidarSample, axis: FlipAxis) -> LidarSample:
    """The scene mirrored over an axis of the ground."""
    column = 1 if axis == "x" else 0

    def mirror_boxes(boxes: Tensor) -> Tensor:
        mirrored = boxes.clone()
        mirrored[:, column] *= -1
        mirrored[:, 6] = -boxes[:, 6] if axis == "x" else np.pi - boxes[:, 6]
        if boxes.shape[1] == 9:
            mirrored[:, 7 + column] *= -1
        return mirrored

    points = sample.points.clone()
    points[:, column] *= -1
    return _moved(sample, points, mirror_boxes)


def rotate(sample: LidarSample, generator: np.random.Generator, largest: float = np.pi / 4) -> LidarSample:
    """Turn the scene about z by an angle uniform in [-largest, largest], radians."""
    return rotated(sample, float(generator.uniform(-largest, largest)))


def rotated(sample: LidarSample, angle: float) -> LidarSample:
    """The scene turned about z by an angle in radians, counter-clockwise from above."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32)  # for rows

    def turn_boxes(boxes: Tensor) -> Tensor:
        turned = boxes.clone()
        turned[:, :2] = boxes[:, :2] @ turn
        turned[:, 6] += angle
        if boxes.shape[1] == 9:
            turned[:, 7:] = boxes[:, 7:] @ turn
        return turned

    points = sample.points.clone()
    points[:, :2] = points[:, :2] @ turn
    return _moved(sample, points, turn_boxes)


def scale(sample: LidarSample, generator: np.random.Generator, low: float = 0.95, high: float = 1.05) -> LidarSample:
    """Multiply positions, sizes and velocities by one factor, uniform in [low, high]."""
    factor = float(generator.uniform(low, high))

    def scale_boxes(boxes: Tensor) -> Tensor:
        scaled = boxes * factor
        scaled[:, 6] = boxes[:, 6]
        return scaled

    points = sample.points.clone()
    points[:, :3] *= factor
    return _moved(sample, points, scale_boxes)


def translate(sample: LidarSample, generator: np.random.Generator, sigma: float = 0.5) -> LidarSample:
    """Add one offset to positions, normal with standard deviation sigma (metres) along each axis."""
    offset = torch.from_numpy(generator.normal(0, sigma, 3)).float()

    def move_boxes(boxes: Tensor) -> Tensor:
        moved = boxes.clone()
        moved[:, :3] += offset
        return moved

    points = sample.points.clone()
    points[:, :3] += offset
    return _moved(sample, points, move_boxes)


def wrap_headings(sample: LidarSample) -> LidarSample:
    """Headings in [-pi, pi)."""

    def wrap(boxes: Tensor) -> Tensor:
        wrapped = boxes.clone()
        wrapped[:, 6] = wrap_angle(boxes[:, 6])
        return wrapped

    return replace(sample, boxes=wrap(sample.boxes), other_boxes=wrap(sample.other_boxes))


def mask_points(sample: LidarSample, point_range: Sequence[float], mask_z: bool = False) -> LidarSample:
    """Keep the points within a range, its ends included.

    Args:
        sample: the frame.
        point_range: smallest x, y, z, then largest x, y, z, metres.
        mask_z: compare z too; the published Waymo models leave that to the voxel grid.
    """
    low, high = _ends(point_range)
    columns = 3 if mask_z else 2
    inside = ((sample.points[:, :columns] >= low[:columns]) & (sample.points[:, :columns] <= high[:columns])).all(1)
    return replace(sample, points=sample.points[inside])


def mask_boxes(sample: LidarSample, point_range: Sequence[float]) -> LidarSample:
    """Keep the boxes whose centre is within a range (x, y and z), its ends included."""
    low, high = _ends(point_range)
    return keep_boxes(sample, ((sample.boxes[:, :3] >= low) & (sample.boxes[:, :3] <= high)).all(1))


def keep_boxes(sample: LidarSample, keep: Tensor) -> LidarSample:
    """The sample with boxes where `keep` [K] is True, and what belongs to them."""
    return replace(
        sample,
        boxes=sample.boxes[keep],
        labels=sample.labels[keep],
        num_points=None if sample.num_points is None else sample.num_points[keep],
        difficulty=None if sample.difficulty is None else sample.difficulty[keep],
    )


def shuffle(sample: LidarSample, generator: np.random.Generator) -> LidarSample:
    """Put the points in another order."""
    return replace(sample, points=sample.points[torch.from_numpy(generator.permutation(len(sample.points)))])


def check_range(name: str, point_range: Sequence[float]) -> None:
    """Raise ValueError, in the name of the caller, unless a range is six numbers with each low end below its high end."""
    if len(point_range) != 6 or not all(low < high for low, high in zip(point_range[:3], point_range[3:], strict=True)):
        raise ValueError(f"{name}: point_range must be x y z of both ends, low below high, got {list(point_range)}")


def _ends(point_range: Sequence[float]) -> tuple[Tensor, Tensor]:
    check_range("point_range", point_range)
    ends = torch.tensor(list(point_range), dtype=torch.float32)
    return ends[:3], ends[3:]


def _moved(sample: LidarSample, points: Tensor, move: Callable[[Tensor], Tensor]) -> LidarSample:
    return replace(sample, points=points, boxes=move(sample.boxes), other_boxes=move(sample.other_boxes), cameras=())
