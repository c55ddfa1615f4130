"""Metrics of fitted bodies: distances of vertices and joints, without any alignment, and accuracy of the parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


def mean_distance_cm(pred: Tensor, target: Tensor) -> Tensor:
    """Mean distance in centimetres of corresponding points [B, V, 3] in metres: [B], float32 or better. V2V of vertices, MPJPE of joints.

    Raises:
        ValueError: shapes that differ.
    """
    if pred.shape != target.shape or pred.shape[-1:] != (3,):
        raise ValueError(f"mean_distance_cm: expected two [B, V, 3], got {list(pred.shape)} and {list(target.shape)}")
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    return 100 * (pred.to(dtype) - target.to(dtype)).norm(dim=-1).mean(-1)


def part_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Share [B] of the points whose part [B, N] has the highest score [B, N, P]."""
    return (scores.argmax(-1) == labels).float().mean(-1)


class BodyErrors(Metric):
    """V2V and MPJPE in centimetres and the accuracy of the parts, in mean over all bodies, each body counting the same.

    Args:
        groups: names of the groups of bodies that figures are given for beside those of all; none where there is one group alone.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    names = ("v2v_cm", "mpjpe_cm", "part_accuracy")

    def __init__(self, groups: Sequence[str] = ("all",)) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.add_state("sums", torch.zeros(len(groups), len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(groups), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        vertices: tuple[Tensor, Tensor],
        joints: tuple[Tensor, Tensor],
        scores: Tensor,
        labels: Tensor,
        group: Tensor,
    ) -> None:
        """Take bodies into account.

        Args:
            vertices: predicted and target [B, V, 3], metres.
            joints: predicted and target [B, J, 3].
            scores: [B, N, P] of the parts of the points.
            labels: [B, N] int64.
            group: [B] int64, number of the group of each body.
        """
        errors = (mean_distance_cm(*vertices), mean_distance_cm(*joints), part_accuracy(scores, labels))
        self.sums.index_add_(0, group, torch.stack(errors, 1).to(self.sums))
        self.counts += torch.bincount(group, minlength=len(self.groups))

    def compute(self) -> dict[str, float]:
        """`v2v_cm`, `mpjpe_cm` and `part_accuracy`, and `NAME/GROUP` of each group that occurred; NaN without any body."""
        total = self.sums.sum(0) / self.counts.sum()
        figures = dict(zip(self.names, total.tolist(), strict=True))
        if len(self.groups) == 1:
            return figures
        for number, group in enumerate(self.groups):
            if self.counts[number]:
                means = (self.sums[number] / self.counts[number]).tolist()
                figures |= {f"{name}/{group}": value for name, value in zip(self.names, means, strict=True)}
        return figures
