"""Distances between points and triangle meshes, differentiable in both."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor


def closest_on_triangles(points: Tensor, triangles: Tensor) -> Tensor:
    """The closest point of each triangle: points [..., 3], triangles [..., 3, 3] (corner, xyz) -> [..., 3]; also of flat triangles.

    Ericson, "Real-Time Collision Detection", sec. 5.1.5: the foot of the perpendicular where it is inside, else the closest point of an edge.
    """
    a, b, c = triangles.unbind(-2)
    candidates = [_on_segment(points, *ends) for ends in ((a, b), (b, c), (c, a))]
    foot, is_inside = _foot(points, a, b, c)
    candidates.append(torch.where(is_inside[..., None], foot, candidates[0]))
    stacked = torch.stack(candidates, -2)
    best = (stacked - points[..., None, :]).square().sum(-1).argmin(-1)
    return stacked.gather(-2, best[..., None, None].expand(*best.shape, 1, 3)).squeeze(-2)


def _on_segment(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    along = end - start
    share = ((points - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-20)
    return start + share.clamp(0, 1)[..., None] * along


def _foot(points: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Foot of the perpendicular on the plane of a triangle, and whether it is inside."""
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01
    is_flat = area <= 1e-12 * d00 * d11
    safe = torch.where(is_flat, torch.ones_like(area), area)
    v, w = (d11 * d20 - d01 * d21) / safe, (d00 * d21 - d01 * d20) / safe
    return a + v[..., None] * ab + w[..., None] * ac, (v >= 0) & (w >= 0) & (v + w <= 1) & ~is_flat


class MeshSurface:
    """The surface of a mesh whose vertices may move.

    Args:
        faces: [F, 3] vertices of the triangles.
        num_vertices: V.
        nearest: the triangles at so many nearest vertices are looked at, which is exact unless a triangle is much larger than those beside it.
    """

    def __init__(self, faces: np.ndarray, num_vertices: int, nearest: int = 3):
        self.faces = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int64))
        self.nearest = min(nearest, num_vertices)
        corners = np.asarray(faces).ravel()
        order = np.argsort(corners, kind="stable")
        counts = np.bincount(corners, minlength=num_vertices)
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        at_vertex = np.full((num_vertices, max(1, counts.max(initial=0))), -1)
        at_vertex[corners[order], place] = order // 3
        self.at_vertex = torch.from_numpy(at_vertex)

    def closest(self, points: Tensor, vertices: Tensor) -> Tensor:
        """The closest point of the surface to each point [N, 3], with vertices [V, 3]: [N, 3], differentiable in both."""
        tree = cKDTree(vertices.detach().cpu().numpy())
        near = tree.query(points.detach().cpu().numpy(), self.nearest)[1].reshape(len(points), -1)
        faces = self.at_vertex[torch.from_numpy(near)].flatten(1)  # [N, candidates]
        first = faces.max(1, keepdim=True).values  # stands in for the missing ones
        faces = torch.where(faces < 0, first, faces)
        with torch.no_grad():
            found = closest_on_triangles(points[:, None], vertices[self.faces[faces]])
            best = (found - points[:, None]).square().sum(-1).argmin(1)
        chosen = faces.gather(1, best[:, None]).squeeze(1)
        return closest_on_triangles(points, vertices[self.faces[chosen]])

    def distances(self, points: Tensor, vertices: Tensor) -> Tensor:
        """Distance [N] of each point [N, 3] to the surface with vertices [V, 3]."""
        return (self.closest(points, vertices) - points).norm(dim=-1)
