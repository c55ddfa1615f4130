"""What tests of pictures draw, and how they measure what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.viz import Scene

try:
    import open3d  # noqa: F401

    DRAWS = True
except ImportError:
    DRAWS = False
draws = pytest.mark.skipif(not DRAWS, reason="open3d cannot be imported here")

SIZE = (320, 240)
RED = (220, 20, 20)


def ball(count: int = 3000) -> np.ndarray:
    """Points on the unit sphere."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def cube() -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    box = trimesh.creation.box((1, 1, 1))
    return np.asarray(box.vertices), np.asarray(box.faces)


def drawn(picture: np.ndarray, scene: Scene) -> np.ndarray:
    """[H, W] True where the picture is not background."""
    return (np.abs(picture.astype(int) - scene.background) > 12).any(axis=-1)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column with content."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1], columns[0], columns[-1]
