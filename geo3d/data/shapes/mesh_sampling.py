"""Spread-out points on meshes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from geo3d.data.files.geometry import read_geometry, sample_mesh
from geo3d.data.shapes.classification import farthest_points


def sample_meshes_evenly(files: Sequence[Path], num_points: int, num_candidates: int, seed: int, title: str) -> np.ndarray:
    """Points and face normals of meshes: uniform candidates, of which farthest point sampling keeps some.

    Args:
        files: M meshes; the random numbers of each depend on the seed and its name, not on its place in the list.
        num_points: N.
        num_candidates: drawn on each mesh, at least N.
        seed: of the candidates.
        title: of the progress bar.

    Returns:
        [M, N, 6] float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file without faces or area, or not a mesh; fewer candidates than points.
    """
    clouds = []
    for path in tqdm(files, desc=title, unit="mesh", disable=None):
        candidates = sample_mesh(read_geometry(path), num_candidates, seed=zlib.crc32(path.stem.encode()) ^ seed)
        clouds.append(farthest_points(candidates, num_points, path))
    return np.stack(clouds)
