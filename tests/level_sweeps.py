"""Made-up sweeps of a sensor above level ground between walls, for what looks for the ground."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def street_sweep(height: float = 1.73, seed: int = 0, noise: float = 0.01) -> np.ndarray:
    """[N, 4] float32 x y z intensity: ground that thins out with the distance, two walls, parked cars, echoes from below."""
    generator = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(-25, -2, 40))
    azimuth = np.radians(np.arange(0, 360, 0.4))
    reach, turn = np.meshgrid(height / np.tan(-elevation), azimuth, indexing="ij")
    ground = np.stack([reach * np.cos(turn), reach * np.sin(turn), np.full_like(reach, -height)], -1).reshape(-1, 3)
    ground = ground[(np.abs(ground[:, 1]) < 9) & (np.hypot(ground[:, 0], ground[:, 1]) < 60)]
    walls = np.column_stack(
        [generator.uniform(-40, 40, 6000), generator.choice([-9, 9], 6000), generator.uniform(-height, 2, 6000)]
    )
    cars = [
        generator.uniform(-0.5, 0.5, (400, 3)) * [4, 1.7, 1.4] + [x, y, 0.75 - height]
        for x, y in ((7, -4), (14, -4), (-8, 4), (12, 5), (20, -5))
    ]
    below = generator.uniform((-15, -8, -height - 2), (15, 8, -height - 0.5), (80, 3))
    points = np.concatenate([ground + generator.normal(0, noise, ground.shape), walls, *cars, below])
    return np.column_stack([points, generator.uniform(0, 1, len(points))]).astype(np.float32)


def turned(points: np.ndarray, *degrees: float, up: float = 0.0) -> np.ndarray:
    """The points as a sensor sees them that is mounted with a rotation (degrees about x, y, z, in this order), and its points higher by `up`."""
    moved = points.copy()
    for axis, angle in zip(np.eye(3), degrees, strict=True):
        moved[:, :3] = moved[:, :3] @ Rotation.from_rotvec(np.radians(angle) * axis).as_matrix().T
    moved[:, 2] += up
    return moved.astype(np.float32)
