"""Metrics of hands, equal to FreiHAND's official evaluation (Zimmermann et al., ICCV 2019): lengths in metres, figures in millimetres.

`PA` is after alignment by rotation, scale and translation of each prediction. The official alignment may mirror; so does it here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torchmetrics import Metric

from geo3d.geometry.alignment import similarity_aligned

THRESHOLDS = torch.linspace(0, 0.05, 100, dtype=torch.float64)  # metres, of the curve of correct keypoints


def distances(pred: Tensor, target: Tensor, align: bool = False) -> Tensor:
    """Distances [B, N] float64 in metres of corresponding points [B, N, 3], where `align` says so after the official alignment."""
    pred, target = pred.double(), target.double()
    if align:
        pred = similarity_aligned(pred, target, reflections=True)
    return (pred - target).norm(dim=-1)


def correct_curve(errors: Tensor, thresholds: Tensor = THRESHOLDS) -> Tensor:
    """Share of the samples whose error [B, N] is at most each threshold, in mean over the points: [T]."""
    return (errors[..., None] <= thresholds.to(errors)).double().mean((0, 1))


def area_under_curve(curve: Tensor, thresholds: Tensor = THRESHOLDS) -> float:
    """Area under a curve [T] over the range of the thresholds, by trapezoids; at most 1."""
    return float(torch.trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0]))


def f_score(pred: Tensor, target: Tensor, threshold: float) -> tuple[float, float, float]:
    """F-score of two point sets [N, 3] and [M, 3], and the shares it is the harmonic mean of.

    Args:
        pred, target: metres.
        threshold: points nearer than so many metres to the other set count.

    Returns:
        F, the share of target points near a predicted one, the share of predicted points near a target one. F is 0 where both are 0.
    """
    sets = [points.detach().cpu().double().numpy() for points in (pred, target)]
    reached = float((cKDTree(sets[0]).query(sets[1])[0] < threshold).mean())
    right = float((cKDTree(sets[1]).query(sets[0])[0] < threshold).mean())
    return (2 * reached * right / (reached + right) if reached + right else 0.0), reached, right


def keypoint_auc_2d(pred: Tensor, target: Tensor, scale: float = 30.0) -> Tensor:
    """Area under the curve of 2D keypoints as ReJSHand's own evaluator has it.

    Args:
        pred, target: [B, N, 2] pixels of the original image.
        scale: pixels that an error of 1 stands for.

    Returns:
        [B]: mean over the thresholds 0, 0.05, ..., 0.95 of the share of keypoints with a smaller error.
    """
    errors = (pred.double() - target.double()).norm(dim=-1) / scale
    thresholds = 0.05 * torch.arange(20, dtype=torch.float64, device=errors.device)
    return (errors[..., None] < thresholds).double().mean((1, 2))


class HandErrors(Metric):
    """PA-MPJPE, PA-MPVPE, their areas under the curve and F-scores of the aligned vertices, over all samples.

    Also the errors relative to the root joint without alignment (`mpjpe_mm`), and of keypoints in the image (`keypoint_error`, in units
    of the crop's side).

    Args:
        root: joint that unaligned errors are relative to.
        f_thresholds_mm: of the F-scores; they are the slow part, and an empty list leaves them out.
    """

    full_state_update = False
    joint_errors: list[Tensor]
    vertex_errors: list[Tensor]
    root_errors: list[Tensor]
    scores: list[Tensor]
    keypoint_errors: list[Tensor]

    def __init__(self, root: int = 9, f_thresholds_mm: Sequence[int] = (5, 15)):
        super().__init__()
        self.root, self.f_thresholds_mm = root, tuple(f_thresholds_mm)
        for name in ("joint_errors", "vertex_errors", "root_errors", "scores", "keypoint_errors"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, joints: Tensor, target_joints: Tensor, vertices: Tensor, target_vertices: Tensor) -> None:
        """Joints [B, J, 3] and vertices [B, V, 3] of a batch, metres; B may be 0."""
        self.update_joints(joints, target_joints)
        self.vertex_errors.append(distances(vertices, target_vertices, align=True))
        if self.f_thresholds_mm:
            aligned = similarity_aligned(vertices.double(), target_vertices.double(), reflections=True)
            each = [
                [f_score(pred, wanted, 1e-3 * limit)[0] for limit in self.f_thresholds_mm]
                for pred, wanted in zip(aligned, target_vertices, strict=True)
            ]
            scores = torch.tensor(each, dtype=torch.float64, device=joints.device)
            self.scores.append(scores.reshape(-1, len(self.f_thresholds_mm)))

    def update_joints(self, joints: Tensor, target: Tensor) -> None:
        """Joints [B, J, 3] of hands whose vertices are unknown, metres; B may be 0."""
        self.joint_errors.append(distances(joints, target, align=True))
        relative = [x - x[:, self.root, None] for x in (joints.double(), target.double())]
        self.root_errors.append(distances(relative[0], relative[1]))
        self._update_count += 1

    def update_keypoints(self, keypoints: Tensor, target: Tensor, valid: Tensor) -> None:
        """Keypoints [B, J, 2] in units of the crop's side, of which `valid` [B, J] count."""
        self.keypoint_errors.append((keypoints.double() - target.double()).norm(dim=-1)[valid > 0])
        self._update_count += 1

    def compute(self) -> dict[str, Tensor]:
        """Figures by name; those of which no sample was seen are left out."""
        figures: dict[str, Tensor] = {}
        for kind, name, parts in (("joints", "mpjpe", self.joint_errors), ("vertices", "mpvpe", self.vertex_errors)):
            if _is_seen(parts):
                errors = _all(parts)
                figures[f"pa_{name}_mm"] = 1000 * errors.mean()
                figures[f"pa_{kind}_auc"] = torch.tensor(area_under_curve(correct_curve(errors.cpu())))
        if _is_seen(self.root_errors):
            figures["mpjpe_mm"] = 1000 * _all(self.root_errors).mean()
        if _is_seen(self.scores):
            means = _all(self.scores).mean(0)
            figures |= {f"f_{limit}mm": mean for limit, mean in zip(self.f_thresholds_mm, means, strict=True)}
        if _is_seen(self.keypoint_errors):
            figures["keypoint_error"] = _all(self.keypoint_errors).mean()
        return {name: value.float() for name, value in figures.items()}


def _is_seen(parts: list[Tensor] | Tensor) -> bool:
    return len(parts) > 0 and _all(parts).numel() > 0


def _all(parts: list[Tensor] | Tensor) -> Tensor:
    return torch.cat(parts) if isinstance(parts, list) else parts  # already joined between processes


class RootErrors(Metric):
    """Distance in the camera's frame of the root joint that `solve_translation` finds, `camera_root_mm`, and its part in depth."""

    full_state_update = False
    parts: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("parts", default=[], dist_reduce_fx="cat")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Roots [B, 3] metres, as found and as they are."""
        self.parts.append(pred.double() - target.double())

    def compute(self) -> dict[str, Tensor]:
        """Figures by name; none without samples."""
        if not _is_seen(self.parts):
            return {}
        errors = 1000 * _all(self.parts)
        return {"camera_root_mm": errors.norm(dim=-1).mean().float(), "camera_depth_mm": errors[:, 2].abs().mean().float()}
