"""Pickle files that hold numpy arrays in lists and tuples, and nothing that could run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocol 2 writes the bytes of an array
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}, which is refused")
        return super().find_class(module, name)


def read_array_pickle(path: Path) -> Any:
    """Content of a pickle file of numpy arrays, numbers, strings, lists and tuples.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds anything else, or is no pickle.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file).load()
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        raise ValueError(f"{path}: expected a pickle of numpy arrays and lists, got {error or type(error).__name__}") from None


def read_cloud_pickle(path: Path, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """The caches of PointNet++'s descendants: [clouds, labels].

    Returns:
        points [M, num_points, 6] float32 and labels [M] int64.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else is in the file.
    """
    content = read_array_pickle(path)
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise ValueError(f"{path}: expected [clouds, labels], got {type(content).__name__}")
    try:
        points = np.stack([np.asarray(cloud, dtype=np.float32) for cloud in content[0]])
        labels = np.asarray([np.asarray(label).reshape(()) for label in content[1]]).astype(np.int64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected clouds of one size and one label each, got {error}") from None
    if points.shape != (len(labels), num_points, 6):
        raise ValueError(f"{path}: expected [{len(labels)}, {num_points}, 6] points for the labels, got {list(points.shape)}")
    if not np.isfinite(points).all():
        raise ValueError(
            f"{path}: expected finite points, got a value that is not in cloud {np.argwhere(~np.isfinite(points))[0][0]}"
        )
    return points, labels
