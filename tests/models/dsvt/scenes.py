"""Small point clouds and networks for the tests of DSVT."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.models.detection import BevBackbone, CenterHead
from geo3d.models.dsvt import DSVTBackbone, DSVTDetector, PointEncoder, StageConfig

RANGE = (-6.4, -3.2, -2.0, 6.4, 3.2, 2.0)  # 32 x 16 cells of 0.4 m: rows and columns differ
PILLAR, VOXEL = (0.4, 0.4, 4.0), (0.4, 0.4, 0.5)
ONE_STAGE = [StageConfig(2, 7, (6, 6, 1), (3, 3, 0))]
STAGES = [
    StageConfig(1, 7, (6, 6, 8), (3, 3, 0)),
    StageConfig(1, 7, (6, 6, 2), (3, 3, 0), stride=(1, 1, 4)),
    StageConfig(1, 7, (6, 6, 1), (3, 3, 0), stride=(1, 1, 2)),
]


def cloud(*counts: int, seed: int = 0) -> tuple[Tensor, Tensor, int]:
    """points [N, 5] of clouds of so many points, denser in the middle, a tenth outside the range; batch_index [N]; batch_size."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(sum(counts), 5, generator=generator) * torch.tensor([3.0, 1.5, 0.8, 1, 1])
    batch_index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return points, batch_index, len(counts)


def backbone(pooling: str = "attention", **options) -> DSVTBackbone:
    return DSVTBackbone((32, 16, 8), STAGES, 16, 4, 24, pooling=pooling, **options)


def detector(kind: str = "pillar", **options) -> DSVTDetector:
    """Untrained, but with batch norms that have seen a batch."""
    encoder = PointEncoder(5, 16, PILLAR if kind == "pillar" else VOXEL, RANGE)
    stages = ONE_STAGE if kind == "pillar" else STAGES
    bev = BevBackbone(16, (0, 1), (1, 2), (8, 12), (1, 2), (8, 8))
    network = DSVTDetector(encoder, DSVTBackbone(encoder.grid, stages, 16, 4, 24, **options), bev, CenterHead(16, 2, 8))
    with torch.no_grad():
        for seed in range(3):
            network(*cloud(300, 200, seed=100 + seed))
    return network.eval()
