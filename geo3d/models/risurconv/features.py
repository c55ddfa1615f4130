"""The rotation-invariant surface description of a neighbourhood (RISurConv, ECCV 2024, sections 3.1 and 3.2).

Vectors have their component first, [3, B, S, k]: B clouds, S centres, k neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

NUM_FEATURES = 14
EPSILON = 1e-7  # added to lengths by the published features


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot product of vectors [3, ...] -> [...]."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Tensor) -> Tensor:
    """Vectors [3, ...] divided by their length + EPSILON."""
    return a / (dot(a, a).sqrt() + EPSILON)


def angular_keys(offsets: Tensor, axis: Tensor, first_is_positive: bool = False) -> Tensor:
    """Keys that put the neighbours in a circle around the axis when sorted in descending order.

    The direction of the neighbour with the largest distance from the axis has key 1; going round, the key falls to -1 at half a turn
    and to -3 at a full one. Neighbours without direction (copies of the centre) have key -1.

    Args:
        offsets: [3, B, S, k] neighbours relative to their centre.
        axis: [3, B, S] unit vectors.
        first_is_positive: put the first neighbour of the list on the positive side wherever it lies, as the released code does.
            The order then depends on the order of the list.

    Returns:
        [B, S, k] keys.
    """
    axis = axis[..., None]
    planar = offsets - dot(offsets, axis) * axis
    length = dot(planar, planar).sqrt()
    direction = torch.where(length > 0, planar / length, 0.0)
    farthest = length.argmax(-1, keepdim=True)  # the first of equals
    reference = direction.gather(-1, farthest.expand(3, *farthest.shape))
    x, y, z = direction
    rx, ry, rz = reference
    side = ((y * rz - z * ry) * axis[0] + (z * rx - x * rz) * axis[1] + (x * ry - y * rx) * axis[2]).sign()
    if first_is_positive:
        side = torch.cat([torch.ones_like(side[..., :1]), side[..., 1:]], -1)
    keys = side * dot(direction, reference) - (1 - side)
    # rounding alone would decide on which side of itself the reference, or a copy of it, lies
    return torch.where((direction == reference).all(0) & (length > 0), 1.0, keys)


def surface_features(positions: Tensor, normals: Tensor, axis: Tensor, step: int = 1) -> Tensor:
    """The 14 distances and cosines of two triangles at each neighbour, in the published order.

    Neighbour i forms one triangle with the centre and the previous neighbour, and one with the centre and the next.

    Args:
        positions: [3, B, S, k] neighbours relative to their centre, in angular order.
        normals: [3, B, S, k] their unit normals.
        axis: [3, B, S] unit normals of the centres.
        step: how many places away in the circle the previous and the next neighbour are.

    Returns:
        [B, S, k, 14].
    """
    axis = axis[..., None]
    length = dot(positions, positions).sqrt()
    ray = positions / (length + EPSILON)
    previous_ray, next_ray = _previous(ray, step), _next(ray, step)
    previous_normal = _previous(normals, step)
    edge = unit(_previous(positions, step) - positions)  # from the neighbour to the previous one
    to_axis = dot(ray, axis)
    to_normal = -dot(ray, normals)
    between_rays = dot(ray, previous_ray)
    edge_normal = dot(edge, normals)
    rays_across = dot(next_ray, previous_ray)
    next_between = _next(between_rays, step)
    return torch.stack(
        [
            length,
            to_axis,
            to_normal,
            between_rays,
            _previous(to_axis, step),
            _previous(to_normal, step),
            dot(previous_ray, edge),
            edge_normal,
            -dot(edge, previous_normal),
            next_between,
            -_next(dot(ray, edge), step),
            -_next(edge_normal, step),
            dot(ray, _next(normals, step)),
            # (next x ray) . (previous x ray), by Lagrange's identity
            rays_across * dot(ray, ray) - next_between * between_rays,
        ],
        dim=-1,
    )


def _previous(values: Tensor, step: int) -> Tensor:
    return values.roll(step, -1)


def _next(values: Tensor, step: int) -> Tensor:
    return values.roll(-step, -1)
