"""Smooth noise, of which procedural skin and backgrounds are made."""

from __future__ import annotations

import numpy as np


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """[size, size] noise of unit variance, about `cells` bumps across."""
    import cv2

    coarse = rng.normal(0, 1, (cells + 2, cells + 2)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
