"""A cloud in the shape of a body, roughly."""

from __future__ import annotations

import numpy as np
import torch


def figure(count: int, seed: int = 0) -> torch.Tensor:
    """[count, 3] float64 points on a trunk with a head and four limbs, metres."""
    rng = np.random.default_rng(seed)
    ends = np.array(
        [
            [[0, -0.3, 0], [0, 0.3, 0.02], [0.13, 0, 0]],
            [[0, 0.45, 0], [0, 0.6, 0.05], [0.1, 0, 0]],
            [[0.2, 0.25, 0], [0.7, 0.4, 0.2], [0.05, 0, 0]],
            [[-0.2, 0.25, 0], [-0.5, -0.1, 0.3], [0.05, 0, 0]],
            [[0.1, -0.3, 0], [0.15, -1.1, 0.1], [0.07, 0, 0]],
            [[-0.1, -0.3, 0], [-0.4, -1.0, -0.2], [0.07, 0, 0]],
        ]
    )
    limb = rng.integers(0, len(ends), count)
    along = rng.random((count, 1))
    outward = rng.standard_normal((count, 3))
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return torch.from_numpy(ends[limb, 0] * (1 - along) + ends[limb, 1] * along + outward * ends[limb, 2, :1])
