"""Text files of the shape data sets: lists of names, and tables of one point a line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np


def read_lines(path: Path) -> list[str]:
    """Lines that are not blank, without surrounding spaces.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no line with text, or not text at all.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected lines of text, got {error}") from None
    if not lines:
        raise ValueError(f"{path}: expected at least one line, got an empty file")
    return lines


def read_point_table(path: Path, columns: tuple[str, ...], delimiter: str | None = None) -> np.ndarray:
    """Points of a text file with one point a line.

    Args:
        path: the file.
        columns: names of the columns that every line must have.
        delimiter: between the numbers; white space when None.

    Returns:
        [N, len(columns)] float32, N > 0, all finite.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file, another number of columns, or a value that is no finite number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    wanted = f"{len(columns)} numbers a line ({' '.join(columns)})"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numpy's "no data"; an error below
        try:
            table = np.loadtxt(path, dtype=np.float32, delimiter=delimiter, ndmin=2, comments=None)
        except (ValueError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: expected {wanted}, got {str(error).splitlines()[0]}") from None
    if table.size == 0:
        raise ValueError(f"{path}: expected {wanted}, got an empty file")
    if table.shape[1] != len(columns):
        raise ValueError(f"{path}: expected {wanted}, got {table.shape[1]}")
    bad = ~np.isfinite(table)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(f"{path}: expected finite numbers, got {columns[column]} = {table[row, column]} in line {row + 1}")
    return table
