"""Normalisation, augmentation and rotation of point clouds.

Every function takes points as a numpy array or a torch tensor, [N, 3] or [N, 6] (positions, then unit normals), and returns new
points of the same kind. Further columns, such as a label, stay with their point, except in `rotate`. What is random draws from a
`numpy.random.Generator` that the caller passes. The augmentations are those of RISurConv (ECCV 2024), which PointNet++ introduced:
drop, scale and shift, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

Points = TypeVar("Points", np.ndarray, Tensor)
RotationProtocol = Literal["none", "z", "so3"]
Axis = Literal["x", "y", "z"]
Augmentation = Literal["drop", "scale", "shift", "shuffle", "jitter"]


def unit_sphere(points: Points) -> Points:
    """Move the mean of the positions to the origin and divide by the largest distance from it; one repeated point stays at 0."""
    centered = points[:, :3] - points[:, :3].mean(0)
    radius = float((centered**2).sum(-1).max()) ** 0.5
    return _with_positions(points, centered / radius if radius > 0 else centered)


def orient_normals(points: Points) -> Points:
    """Turn each normal to the side that faces away from the mean of the positions: n . (x - mean) >= 0.

    Files mix windings and estimated normals have no side; this makes them consistent, and it commutes with rotations and
    translations of the cloud.

    Args:
        points: [N, 6].
    """
    outward = (points[:, 3:6] * (points[:, :3] - points[:, :3].mean(0))).sum(-1)
    oriented = _copy(points)
    oriented[outward < 0, 3:6] *= -1
    return oriented


def drop(points: Points, generator: np.random.Generator, largest_ratio: float = 0.875) -> Points:
    """Replace points by the first one, each with the same probability, itself uniform in [0, largest_ratio] for the cloud."""
    dropped = _mask(points, generator.random(len(points)) < generator.uniform(0, largest_ratio))
    thinned = _copy(points)
    thinned[dropped] = points[0]
    return thinned


def scale(points: Points, generator: np.random.Generator, low: float = 0.8, high: float = 1.25) -> Points:
    """Multiply the positions by one factor, uniform in [low, high]."""
    return _with_positions(points, points[:, :3] * float(generator.uniform(low, high)))


def shift(points: Points, generator: np.random.Generator, largest: float = 0.1) -> Points:
    """Add one offset to the positions, uniform in [-largest, largest] on each axis."""
    return _with_positions(points, points[:, :3] + _like(points, generator.uniform(-largest, largest, 3)))


def shuffle(points: Points, generator: np.random.Generator) -> Points:
    """Put the points in another order."""
    return points[generator.permutation(len(points))]


def jitter(points: Points, generator: np.random.Generator, sigma: float = 0.01, largest: float = 0.05) -> Points:
    """Add to each coordinate noise of standard deviation sigma, clipped to [-largest, largest]."""
    noise = np.clip(sigma * generator.standard_normal((len(points), 3)), -largest, largest)
    return _with_positions(points, points[:, :3] + _like(points, noise))


AUGMENTATIONS: dict[str, Callable[..., Any]] = {
    "drop": drop,
    "scale": scale,
    "shift": shift,
    "shuffle": shuffle,
    "jitter": jitter,
}


def check_augmentations(name: str, augment: Sequence[str]) -> None:
    """Raise ValueError, in the name of the caller, when a name is not one of `Augmentation`."""
    unknown = [each for each in augment if each not in AUGMENTATIONS]
    if unknown:
        raise ValueError(f"{name}: augment takes names of {list(AUGMENTATIONS)}, got {unknown[0]!r}")


def augmented(points: Points, augment: Sequence[Augmentation], generator: np.random.Generator) -> Points:
    """Apply the named augmentations in their order, with their default ranges."""
    for name in augment:
        points = AUGMENTATIONS[name](points, generator)
    return points


def rotate(points: Points, rotation: np.ndarray) -> Points:
    """Turn positions, and normals where there are any, by one matrix.

    Args:
        points: [N, 3] or [N, 6].
        rotation: [3, 3], applied to column vectors.
    """
    transposed = _like(points, rotation.T)
    turned = [points[:, first : first + 3] @ transposed for first in range(0, points.shape[1], 3)]
    return torch.cat(turned, 1) if isinstance(points, Tensor) else np.concatenate(turned, 1)


def random_rotation(generator: np.random.Generator) -> np.ndarray:
    """[3, 3] float64 rotation, uniform on SO(3)."""
    return Rotation.from_quat(generator.standard_normal(4)).as_matrix()


def random_axis_rotation(generator: np.random.Generator, axis: Axis = "y") -> np.ndarray:
    """[3, 3] float64 rotation about a coordinate axis by an angle uniform in [0, 2 pi)."""
    return Rotation.from_euler(axis, generator.uniform(0, 2 * np.pi)).as_matrix()


def randomly_rotated(
    points: Points, protocol: RotationProtocol, generator: np.random.Generator, gravity_axis: Axis = "y"
) -> Points:
    """Rotate by one of the protocols under which rotation invariance is evaluated.

    Args:
        points: [N, 3] or [N, 6].
        protocol: "none", "z" (the literature's name for the gravity axis, whichever it is in the files) or "so3".
        gravity_axis: y in ModelNet40 and ShapeNet files, z in ModelNet meshes.
    """
    check_rotation("randomly_rotated", protocol)
    if protocol == "none":
        return points
    return rotate(points, random_rotation(generator) if protocol == "so3" else random_axis_rotation(generator, gravity_axis))


def check_rotation(name: str, protocol: str) -> None:
    """Raise ValueError, in the name of the caller, when a protocol is not one of `RotationProtocol`."""
    if protocol not in get_args(RotationProtocol):
        raise ValueError(f"{name}: rotation must be one of {list(get_args(RotationProtocol))}, got {protocol!r}")


def _copy(points: Points) -> Points:
    return points.clone() if isinstance(points, Tensor) else points.copy()


def _with_positions(points: Points, positions: Points) -> Points:
    moved = _copy(points)
    moved[:, :3] = positions
    return moved


def _like(points: Points, values: np.ndarray) -> Points:
    if isinstance(points, Tensor):
        return torch.as_tensor(values, dtype=points.dtype, device=points.device)
    return cast(Points, values.astype(points.dtype))


def _mask(points: Points, mask: np.ndarray) -> Points:
    return torch.as_tensor(mask, device=points.device) if isinstance(points, Tensor) else cast(Points, mask)
