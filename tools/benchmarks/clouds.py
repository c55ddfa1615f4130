"""Clouds of realistic density, drawn by rule, so that the benchmark needs no data set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RANGE = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0)  # metres, of the voxel grids below


def sweep(count: int, seed: int = 0) -> Tensor:
    """[count, 4] float32 x, y, z (metres, sensor 1.8 m above the ground at z = 0), intensity: one turn of a LiDAR with 64 beams
    on uneven ground among walls and boxes, in the order of the beams."""
    generator = np.random.default_rng(seed)
    steps = -(-count // 64) + 400
    azimuth = np.linspace(-np.pi, np.pi, steps, endpoint=False)[:, None]
    elevation = np.deg2rad(np.linspace(-22, 3, 64))[None, :]
    bumps = 0.15 * np.sin(5 * azimuth) + 0.05 * np.sin(23 * azimuth)
    with np.errstate(divide="ignore"):
        ground = np.where(elevation < -0.005, (1.8 + bumps) / np.tan(-np.minimum(elevation, -0.005)), np.inf)
    walls = np.repeat(generator.uniform(6, 72, 160), -(-steps // 160))[:steps, None]  # one obstacle in each of 160 sectors
    top = np.repeat(generator.uniform(-0.5, 6, 160), -(-steps // 160))[:steps, None]
    hit = (walls < ground) & (walls * np.tan(elevation) < top)
    depth = np.repeat(generator.choice([0.02, 0.6], 160), -(-steps // 160))[:steps, None]  # walls are flat, trees are not
    distance = np.where(hit, walls + depth * generator.standard_normal((steps, 64)), ground)
    distance = np.where(distance < 75, distance, 1e3)  # no echo
    direction = [np.cos(azimuth) * np.ones_like(elevation), np.sin(azimuth) * np.ones_like(elevation), np.tan(elevation)]
    points = np.stack([axis * distance for axis in direction], -1)
    points[..., 2] += 1.8
    points = points[distance < 100].reshape(-1, 3)
    if len(points) < count:
        points = np.concatenate([points, points[: count - len(points)] + generator.normal(0, 0.3, (count - len(points), 3))])
    points = np.concatenate([points[:count], generator.random((count, 1))], 1)
    return torch.from_numpy(points.astype(np.float32))


def kitti_sweep() -> tuple[Tensor, str]:
    """[N, 4] of KITTI's frame 000008 where the samples are found, else a generated sweep of that size; and its name."""
    samples = Path(os.environ.get("GEO3D_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
    path = samples / "kitti/training/velodyne_reduced/000008.bin"
    if path.exists():
        return torch.from_numpy(np.fromfile(path, np.float32).reshape(-1, 4)), "KITTI 000008"
    ahead = sweep(120_000, seed=8)
    ahead = ahead[(ahead[:, 0] > 0) & (ahead[:, 1].abs() < ahead[:, 0])]
    return ahead[:17_238] - torch.tensor([0, 0, 1.8, 0]), "generated, as KITTI"


def cube(count: int, batch: int = 1, seed: int = 0) -> Tensor:
    """[batch, count, 3] float32, evenly over the unit sphere's surface: the clouds of shape classifiers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(batch, count, 3, generator=generator), dim=-1)
