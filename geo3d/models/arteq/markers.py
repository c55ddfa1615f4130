"""Vertices that stand for the markers of motion capture."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.body.models import SMPL_VERTICES
from geo3d.ops import farthest_point_sample

# Vertices of SMPL's mesh under the 67 markers of ArtEq's training (DFaust_67).
# fmt: off
SMPL_MARKERS = (
    3470, 3171, 3327, 857, 1812, 628, 182, 3116, 3040, 239, 1666, 1725, 0, 2174, 1568, 1368, 3387, 2112, 1053, 1058, 3336, 3346, 1323,
    2108, 3122, 3314, 1252, 1082, 1861, 1454, 850, 2224, 3233, 1769, 6728, 4343, 5273, 4116, 3694, 6399, 6540, 6488, 3749, 5135, 5194,
    3512, 5635, 5210, 4360, 4841, 6786, 5573, 4538, 4544, 6736, 6747, 4804, 5568, 6544, 6682, 5322, 4927, 5686, 4598, 6633, 3506, 3508,
)
# fmt: on


def marker_vertices(template: Tensor) -> Tensor:
    """Vertices [67] int64 of a body at rest [V, 3]: those under the markers of ArtEq's training on SMPL's mesh, spread evenly on others."""
    if len(template) == SMPL_VERTICES:
        return torch.tensor(SMPL_MARKERS, device=template.device)
    return farthest_point_sample(template[None].float(), len(SMPL_MARKERS))[0]
