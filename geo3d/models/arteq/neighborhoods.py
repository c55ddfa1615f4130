"""Which points a convolution takes: samples of a cloud, and the neighbours of each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops import ball_query, farthest_point_sample, gather

NEAR_ORIGIN = 1e-3  # square metres


def canonical_order(points: Tensor) -> Tensor:
    """All points [B, N, 3] in an order that depends on where they are and not on how they were listed: [B, N, 3].

    It is that of farthest point sampling, which begins at the point farthest from the centroid, so that the first points of it are as spread
    out as so many can be. Of points at one place a single one is kept; the first point fills up the end.
    """
    centered = points - points.double().mean(1, keepdim=True).to(points.dtype)
    start = centered.square().sum(-1).argmax(1)
    return gather(points, farthest_point_sample(centered, points.shape[1], start=start))


def released_samples(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling as the released code has it: [B, count] indices into points [B, N, 3].

    It begins at the first point and never takes a point that is within 3.2 cm of the coordinate origin.
    """
    x, y, z = points.unbind(-1)
    is_near = x * x + y * y + z * z <= NEAR_ORIGIN
    # points at the place of the start are never the farthest
    candidates = torch.where(is_near[..., None], points[:, :1], points)
    return farthest_point_sample(candidates, count, ties="cuda")


def neighbors_in_ball(centers: Tensor, points: Tensor, radius: float, most: int, as_released: bool = False) -> Tensor:
    """The first `most` points [B, N, 3] that are within `radius` metres of each centre [B, M, 3]: indices [B, M, most], -1 for none.

    With `canonical_order` the first points are those that cover the ball best, and the list does not depend on how the points were listed.

    Args:
        as_released: fill up a list with its own points, which then count twice, but where just one is missing with the first of the cloud.
    """
    found = ball_query(centers, points, radius, most, padding="none")
    if not as_released:
        return found.indices
    slot = torch.arange(most, device=points.device) % found.counts.clamp(min=1)[..., None]
    filled = found.indices.gather(-1, slot)
    lacks_one = found.counts == most - 1
    filled[..., -1] = torch.where(lacks_one, 0, filled[..., -1])
    return filled
