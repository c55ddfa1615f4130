"""Moving a body onto a scan: a few steps of optimisation through the body model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geo3d.geometry.surfaces import MeshSurface


@dataclass(frozen=True)
class BodyParameters:
    """Parameters of SMPL's layout, as `smplx` takes them.

    Attributes:
        betas: [1, 10].
        global_orient: [1, 3] axis-angle.
        body_pose: [1, 69] axis-angle.
        transl: [1, 3] metres.
    """

    betas: Tensor
    global_orient: Tensor
    body_pose: Tensor
    transl: Tensor

    def vertices(self, body: Any) -> Tensor:
        """[V, 3] metres."""
        made = body(betas=self.betas, global_orient=self.global_orient, body_pose=self.body_pose, transl=self.transl)
        return made.vertices[0]


@dataclass(frozen=True)
class RefinementWeights:
    """Of the terms, and the distance from which points count less.

    Attributes:
        to_scan: from the body to the scan, of what lies near it; less than one, since a scan may have holes.
        pose: squared radians away from the first pose.
        betas: squared shape coefficients.
        robust: metres; a point farther away pulls ever less (Geman and McClure).
    """

    to_scan: float = 0.5
    pose: float = 2e-4
    betas: float = 2e-5
    robust: float = 0.08


def robust_square(distances: Tensor, scale: float) -> Tensor:
    """Squared distances that level off: s^2 d^2 / (s^2 + d^2)."""
    squared = distances.square()
    return scale**2 * squared / (scale**2 + squared)


def refine(
    body: Any,
    start: BodyParameters,
    points: Tensor,
    steps: int,
    weights: RefinementWeights | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> BodyParameters:
    """Parameters whose mesh lies on the points.

    Args:
        body: of `smplx`.
        start: where to begin; the pose is held near it.
        points: [N, 3] metres, of the body alone.
        steps: of Adam, with a rate that falls to a tenth.
        weights: of the terms.
        progress: called with the number of each finished step.

    Returns:
        The parameters with the lowest loss that was met.
    """
    weights = RefinementWeights() if weights is None else weights
    surface = MeshSurface(np.asarray(body.faces), len(body.v_template))
    tree = cKDTree(points.numpy())
    given = (start.transl, start.global_orient, start.body_pose, start.betas)
    moved = [each.detach().clone().requires_grad_() for each in given]
    rates = (0.01, 0.02, 0.02, 0.05)
    optimizer = torch.optim.Adam([{"params": [each], "lr": rate} for each, rate in zip(moved, rates, strict=True)])
    fall = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 ** (step / max(1, steps)))
    best, lowest = start, np.inf
    for step in range(steps):
        current = replace(start, transl=moved[0], global_orient=moved[1], body_pose=moved[2], betas=moved[3])
        vertices = current.vertices(body)
        to_body = (surface.closest(points, vertices) - points).norm(dim=-1)
        nearest = points[torch.from_numpy(tree.query(vertices.detach().numpy())[1])]
        loss = robust_square(to_body, weights.robust).mean()
        loss = loss + weights.to_scan * robust_square((vertices - nearest).norm(dim=-1), weights.robust / 2).mean()
        change = (moved[2] - start.body_pose).square().sum() + (moved[1] - start.global_orient).square().sum()
        loss = loss + weights.pose * change + weights.betas * moved[3].square().sum()
        if loss.item() < lowest:
            lowest = loss.item()
            best = BodyParameters(*(each.detach().clone() for each in (moved[3], moved[1], moved[2], moved[0])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fall.step()
        progress(step)
    return best


def vertex_offsets(vertices: Tensor, faces: Tensor, points: np.ndarray, reach: float = 0.08, rounds: int = 15) -> Tensor:
    """Offsets that move a body's surface onto clothes and hair: along the normals, smooth over the mesh.

    Args:
        vertices: [V, 3] metres.
        faces: [F, 3] int64.
        points: [N, 3] metres, of the scan.
        reach: vertices without a point so near follow their neighbours.
        rounds: of smoothing.

    Returns:
        [V, 3] metres.
    """
    vertices = vertices.detach()
    corners = vertices[faces]
    facing = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.zeros_like(vertices).index_add_(0, faces.flatten(), facing.repeat_interleave(3, 0))
    normals = torch.nn.functional.normalize(normals, dim=1)
    distance, nearest = cKDTree(points).query(vertices.numpy())
    way = torch.from_numpy(points[nearest]).to(vertices) - vertices
    along = (way * normals).sum(1)
    # what lies beside a vertex and not over it belongs to another one
    is_over = along.abs() >= 0.5 * way.norm(dim=1)
    known = (torch.from_numpy(distance < reach) & (is_over | (way.norm(dim=1) < 0.005))).to(vertices)
    height = along * known
    ends = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = torch.cat([ends, ends.flip(1)])
    share = known.clone()
    for _ in range(rounds):
        around = torch.zeros_like(height).index_add_(0, ends[:, 0], height[ends[:, 1]]) + height
        weight = torch.zeros_like(share).index_add_(0, ends[:, 0], share[ends[:, 1]]) + share
        count = torch.ones_like(share).index_add_(0, ends[:, 0], torch.ones(len(ends), dtype=share.dtype))
        height, share = around / count, weight / count
    return (height / share.clamp(min=1e-6))[:, None] * normals
