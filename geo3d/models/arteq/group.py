"""The rotations of the icosahedron, 60 of them, in the order that ArtEq's weights are trained with.

Chen et al., "Equivariant Point Network for 3D Point Cloud Analysis", CVPR 2021, sec. 4.1: three in-plane turns of a frame on each of the 20 faces.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

IDENTITY = 29
# the elements by which the neighbours of an anchor differ from it; only this order fits trained weights
STEPS = (44, 31, 32, 13, 42, 43, 30, 14, 12, 29, 28, 27)
FACES = (
    *((0, 2, 1), (0, 3, 2), (0, 4, 3), (0, 5, 4), (0, 1, 5), (1, 2, 7), (2, 3, 8), (3, 4, 9), (4, 5, 10), (5, 1, 6)),
    *((1, 7, 6), (2, 8, 7), (3, 9, 8), (4, 10, 9), (5, 6, 10), (6, 7, 11), (7, 8, 11), (8, 9, 11), (9, 10, 11), (10, 6, 11)),
)
# a centre and 23 points spread on the unit sphere
KERNEL = (
    *((0, 0, 0), (0.6299, -0.2149, -0.7423), (-0.3022, 0.7119, -0.6461), (-0.2966, -0.9471, -0.1752)),
    *((0.2247, 0.226, 0.9405), (-0.9917, 0.0428, 0.1434), (0.5258, 0.7599, 0.402), (-0.2035, -0.0206, -0.9718)),
    *((0.3777, 0.4709, -0.8007), (0.0201, -0.8949, 0.4631), (0.1504, 0.9692, -0.1638), (-0.6206, 0.2209, 0.7483)),
    *((-0.7326, -0.4753, -0.4757), (-0.1841, 0.7913, 0.5883), (-0.7168, -0.5765, 0.3743), (0.58, -0.4954, 0.6381)),
    *((0.0465, -0.6561, -0.7571), (0.8635, 0.1413, 0.4999), (0.5038, -0.8428, -0.1487), (-0.6553, 0.7446, 0.0504)),
    *((0.9561, -0.2905, -0.0871), (-0.8158, 0.2253, -0.5471), (-0.2005, -0.3558, 0.9158), (0.8413, 0.4655, -0.2484)),
)


class IcosahedralGroup(NamedTuple):
    """The group and its tables.

    Attributes:
        rotations: [60, 3, 3] float64.
        products: [60, 60] int64, rotations[products[a, b]] = rotations[a] @ rotations[b].
        neighbors: [60, 12] int64, the anchors that are one of twelve fixed elements away, itself among them. Multiplication from the left
            turns rows into rows, products[h, neighbors[a]] = neighbors[products[h, a]], which is what makes convolution over it equivariant.
    """

    rotations: Tensor
    products: Tensor
    neighbors: Tensor


@functools.cache
def icosahedral_group() -> IcosahedralGroup:
    """The group, worked out once; take copies to change it."""
    frames = np.concatenate([_frames_of_face(face) for face in FACES])
    rotations = frames @ frames[IDENTITY].T
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(60, 60, 9)
    closest = (products @ rotations.reshape(60, 9).T).argmax(-1)  # the trace of P^T R is largest where they are equal
    table = torch.from_numpy(closest)
    return IcosahedralGroup(torch.from_numpy(rotations), table, table[:, STEPS])


def kernel_points(count: int = len(KERNEL)) -> Tensor:
    """[count, 3] float64 kernel points of a unit ball: the centre and points on the sphere, the published 24 or a spread-out part of them.

    Raises:
        ValueError: less than 1 or more than 24.
    """
    if not 1 <= count <= len(KERNEL):
        raise ValueError(f"kernel_points: count must be 1 to {len(KERNEL)}, got {count}")
    points = np.array(KERNEL)
    points /= np.linalg.norm(points, axis=1).max()
    if count < len(points):
        chosen = [0, 1]  # each further one is the farthest from those before
        while len(chosen) < count:
            distance = np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(1)
            chosen.append(int(distance.argmax()))
        points = points[chosen[:count]]
    return torch.from_numpy(points)


def _vertices() -> np.ndarray:
    def ring(height: float, first: float) -> np.ndarray:
        azimuth = np.deg2rad(first + 72 * np.arange(5))
        radius = math.sqrt(1 - height**2)
        return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), np.full(5, height)], -1)

    height = 1 / math.sqrt(5)
    return np.concatenate([[[0, 0, -1]], ring(-height, 36), ring(height, 0), [[0, 0, 1]]])


def _frames_of_face(face: tuple[int, int, int]) -> np.ndarray:
    """[3, 3, 3]: rotations that bring the normal of a face to the x axis, in three turns about it."""
    x, y, z = _vertices()[list(face)].sum(0) / np.linalg.norm(_vertices()[list(face)].sum(0))
    level = math.sqrt(1 - z**2)
    to_plane = np.array([[x / level, y / level, 0], [-y / level, x / level, 0], [0, 0, 1]])
    to_axis = np.array([[level, 0, z], [0, 1, 0], [-z, 0, level]])
    points_up = -0.5 < z < 0 or z > 0.5  # where faces of a ring stand on their tip
    turns = -2 * math.pi * np.arange(3) / 3 + (math.pi / 3 if points_up else 0)
    frames = [
        np.array([[1, 0, 0], [0, math.cos(t), math.sin(t)], [0, -math.sin(t), math.cos(t)]]) @ to_axis @ to_plane for t in turns
    ]
    return np.stack(frames)
