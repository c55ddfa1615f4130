"""Bodies of SMPL's layout fitted to scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from geo3d.body.kinematics import SMPL_JOINTS
from geo3d.body.models import load_body_model
from geo3d.body.parts import PARTS, part_labels, part_means
from geo3d.data.files.geometry import Geometry, read_geometry
from geo3d.descriptions import ScanInput
from geo3d.geometry.rotations import matrix_to_axis_angle
from geo3d.geometry.scans import UNITS, UnitGuess, find_floor, guess_units, person_piece
from geo3d.geometry.surfaces import MeshSurface
from geo3d.ops import Neighbors, knn
from geo3d.predict.base import Predictor
from geo3d.predict.body_refinement import BodyParameters, refine, vertex_offsets
from geo3d.zoo.weights import WeightsInfo

Scan = str | Path | np.ndarray | Geometry
MIN_POINTS = 100
MAX_POINTS = 20_000  # that distances are measured at; more are thinned first
NO_BODY = 0.06  # metres of mean distance to the mesh from which a scan is said to be no body
UNSEEN, MUCH_UNSEEN = 0.05, 0.13  # metres from a vertex to the scan, and the share of vertices from which that is said
REFINED_AT = 3000  # points that the refinement looks at
ALIGNING_STEPS = 10


@dataclass(frozen=True)
class BodyFit:
    """A body on a scan.

    Attributes:
        betas, global_orient, body_pose, transl: [10], [3], [69], [3] as `smplx` takes them, metres and radians, in the axes of the scan.
        vertices: [V, 3] of the body, in the scan's own units and place.
        faces: [F, 3].
        points: [N, 3] of the scan as they were given.
        labels: [N] int64 part of each point, -1 for what was left out as floor or clutter.
        distances: [M] metres, from points of the body (`measured`, [M] rows of `points`) to the mesh.
        vertex_errors: [V] metres, from each vertex to the nearest point of the body.
        displacements: [V, 3] metres that vertices were moved by beyond the body model, or None.
        up: the axis nearest to the way from hip to head: x, y, z, -x, -y or -z.
        units: what the numbers of the scan were taken for.
        notes: what was assumed or looks wrong, a line each.
    """

    betas: np.ndarray
    global_orient: np.ndarray
    body_pose: np.ndarray
    transl: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    measured: np.ndarray
    vertex_errors: np.ndarray
    displacements: np.ndarray | None
    up: str
    units: UnitGuess
    notes: tuple[str, ...]

    @property
    def mean_distance(self) -> float:
        """Mean distance of the scan to the mesh, metres."""
        return float(self.distances.mean())

    @property
    def far_distance(self) -> float:
        """Distance that 95 % of the scan are within, metres."""
        return float(np.quantile(self.distances, 0.95))


class BodyFitter(Predictor[Scan, BodyFit]):
    """Fits a body to a scan: parts and parameters from the network, translation from the parts, refined on request.

    Args:
        network: an ArtEq.
        info: description of its weights.
        body: a body model file; None for the packaged body, which the packaged weights were trained on.
    """

    def __init__(self, network: nn.Module, info: WeightsInfo, body: str | Path | None = None):
        super().__init__(network, info)
        self.num_points = self.described("preprocessing", ScanInput).num_points
        self.use_body(body)

    def use_body(self, body: str | Path | None) -> None:
        """Fit another body model from now on: a file, or None for the packaged one.

        Raises:
            FileNotFoundError, ValueError: as `load_body_model`.
        """
        self.body: Any = load_body_model(body).requires_grad_(False)
        self.vertex_labels = part_labels(self.body.lbs_weights)
        self.surface = MeshSurface(np.asarray(self.body.faces), len(self.body.v_template))

    def __call__(
        self,
        source: Scan,
        units: str | None = None,
        refine_steps: int = 0,
        displacements: bool = False,
        progress: Callable[[int], None] = lambda step: None,
    ) -> BodyFit:
        """Fit a body.

        Args:
            source: a file, a `Geometry`, or points [N, 3]; of a mesh its vertices count. Any axis may be up.
            units: of the scan: m, cm, mm, in or ft; by default told by its size.
            refine_steps: of the optimisation after the network (100 are good).
            displacements: also move each vertex by itself, onto clothes and hair.
            progress: called with the number of each finished step.

        Raises:
            FileNotFoundError, ValueError: as `read_geometry`, unknown units, fewer than 100 points.
        """
        if units is not None and units not in UNITS:
            raise ValueError(f"units must be one of {', '.join(UNITS)}, got {units!r}")
        points = _points(source)
        guess = guess_units(points) if units is None else UnitGuess(UNITS[units], units)
        rng = np.random.default_rng(0)
        kept, notes = _body_points(points * guess.scale, rng)
        metric = points[kept] * guess.scale
        center = metric.mean(0)
        chosen = rng.choice(len(metric), self.num_points, replace=len(metric) < self.num_points)
        cloud = torch.from_numpy((metric[chosen] - center).astype(np.float32))
        parameters, labels = self._estimate(cloud)
        dense = metric[rng.permutation(len(metric))[:MAX_POINTS]] - center
        if refine_steps:
            few = torch.from_numpy(dense[:REFINED_AT].astype(np.float32))
            parameters = refine(self.body, parameters, few, refine_steps, progress=progress)
        moved = vertex_offsets(parameters.vertices(self.body), self.surface.faces, dense) if displacements else None
        fit = self._result(points, kept, metric - center, center, guess, parameters, moved, cloud, labels)
        return replace(fit, notes=(_assumed(guess, units is None, fit.up), *notes, *_doubts(fit)))

    def _estimate(self, cloud: Tensor) -> tuple[BodyParameters, Tensor]:
        """Parameters in the frame of the cloud [S, 3], and the part of each of its points [S]."""
        with torch.inference_mode():
            estimate = self.network(cloud[None].to(self.device))
            network: Any = self.network
            local = matrix_to_axis_angle(network.local_rotations(estimate.rotations.cpu()))[0]
        pose = torch.cat([local[1:].flatten(), torch.zeros(6)])[None].clone()
        still = BodyParameters(estimate.betas.cpu().clone(), local[:1].clone(), pose, torch.zeros(1, 3))
        probabilities = estimate.part_probabilities.cpu().clone()
        placed = BodyParameters(still.betas, still.global_orient, pose, self._translation(still, cloud, probabilities)[None])
        return placed, probabilities[0].argmax(-1)

    def _translation(self, still: BodyParameters, cloud: Tensor, probabilities: Tensor) -> Tensor:
        """[3]: the parts' means first, then the median of the ways to the surface, again and again."""
        vertices = still.vertices(self.body)
        one_hot = nn.functional.one_hot(self.vertex_labels, PARTS).float()
        of_scan, of_body = part_means(cloud[None], probabilities)[0], part_means(vertices[None], one_hot[None])[0]
        share = probabilities[0].sum(0) * one_hot.any(0)
        moved = ((of_scan - of_body) * share[:, None]).sum(0) / share.sum()
        some = cloud[:1000]
        for _ in range(ALIGNING_STEPS):
            way = some - self.surface.closest(some, vertices + moved)
            is_near = way.norm(dim=-1) <= way.norm(dim=-1).median() * 2 + 1e-6
            moved = moved + way[is_near].mean(0)
        return moved

    def _up(self, vertices: Tensor) -> str:
        head, hip = (vertices[self.vertex_labels == SMPL_JOINTS.index(name)].mean(0) for name in ("head", "pelvis"))
        way = head - hip
        axis = int(way.abs().argmax())
        return ("" if way[axis] > 0 else "-") + "xyz"[axis]

    def _result(
        self,
        points: np.ndarray,
        kept: np.ndarray,
        metric: np.ndarray,
        center: np.ndarray,
        guess: UnitGuess,
        parameters: BodyParameters,
        moved: Tensor | None,
        cloud: Tensor,
        labels: Tensor,
    ) -> BodyFit:
        vertices = parameters.vertices(self.body).detach()
        vertices = vertices if moved is None else vertices + moved
        nearest: Neighbors = knn(torch.from_numpy(metric.astype(np.float32)), cloud, 1)
        all_labels = np.full(len(points), -1)
        all_labels[kept] = labels[nearest.indices[:, 0]].numpy()
        measured = np.random.default_rng(0).permutation(len(metric))[:MAX_POINTS]
        distances = self.surface.distances(torch.from_numpy(metric[measured].astype(np.float32)), vertices).numpy()
        arrays = [getattr(parameters, name)[0].numpy() for name in ("betas", "global_orient", "body_pose")]
        return BodyFit(
            betas=arrays[0],
            global_orient=arrays[1],
            body_pose=arrays[2],
            transl=(parameters.transl[0].numpy() + center).astype(np.float64),
            vertices=(vertices.numpy() + center) / guess.scale,
            faces=np.asarray(self.body.faces).astype(np.int64),
            points=points,
            labels=all_labels,
            distances=distances,
            measured=np.flatnonzero(kept)[measured],
            vertex_errors=cKDTree(metric).query(vertices.numpy())[0],
            displacements=None if moved is None else moved.numpy(),
            up=self._up(vertices),
            units=guess,
            notes=(),
        )


def _points(source: Scan) -> np.ndarray:
    if isinstance(source, str | Path):
        source = read_geometry(source)
    points = source.points if isinstance(source, Geometry) else np.asarray(source)
    if points.ndim != 2 or points.shape[1] < 3 or len(points) < MIN_POINTS:
        raise ValueError(f"expected a scan of at least {MIN_POINTS} points [N, 3], got {list(points.shape)}")
    points = points[:, :3].astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError("expected a scan of finite points")
    return points


def _body_points(metric: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Which points [N] bool are the body's, and what was left out."""
    notes = []
    kept = ~find_floor(metric, rng)
    if not kept.all():
        notes.append(f"left out {(~kept).sum()} points as a floor")
    on_piece = person_piece(metric[kept])
    if not on_piece.all():
        notes.append(f"left out {(~on_piece).sum()} points away from the person")
    rows = np.flatnonzero(kept)[on_piece]
    if len(rows) < MIN_POINTS:
        return np.ones(len(metric), bool), ["nothing was left out: too few points would remain"]
    body = np.zeros(len(metric), bool)
    body[rows] = True
    return body, notes


def _assumed(guess: UnitGuess, guessed: bool, up: str) -> str:
    """What the scan was taken for."""
    head = f"the head is towards {up}"
    if not guessed:
        return head
    if guess.name is not None:
        return f"taken for {guess.name} by its size (--units names another); {head}"
    why = "it was scaled to a unit box or ball" if guess.is_normalized else "no unit makes a person of this size"
    return f"{why}; scaled by {guess.scale:.4g} to be 1.7 m long (--units names one); {head}"


def _doubts(fit: BodyFit) -> list[str]:
    if fit.mean_distance > NO_BODY:
        return [f"the body lies {100 * fit.mean_distance:.1f} cm from the scan on average: is it a person?"]
    unseen = float((fit.vertex_errors > UNSEEN).mean())
    if unseen > MUCH_UNSEEN:
        return [f"{100 * unseen:.0f} % of the body is far from any point, as where one side was scanned: there it is guessed"]
    return []
