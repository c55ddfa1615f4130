"""Readers of tables of points: text, NumPy arrays and raw float32 (`.bin`)."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from geo3d.data.files.numpy_files import load_npy, load_npz
from geo3d.data.files.raw import RawGeometry, as_uint8_colors
from geo3d.data.files.tables import Columns, check_rows, column_names, holds_normals_or_colors, named_columns, split_columns

COMMENTS = ("#", "//")
ARRAYS = ("normals", "colors", "intensity", "faces")


def read_text(path: Path, columns: Columns | None = None) -> RawGeometry:
    """Table of one point a line, comma, semicolon or blank separated, with an optional line of column names.

    A first line with the number of points is passed over, and so are delimiters at the ends of lines and comments.

    Raises:
        ValueError: no text, no numbers, a number of columns that no layout has, lines of different length.
    """
    lines = _text_lines(path)
    header, delimiter, first = _text_layout(path, lines)
    rows = [line.rstrip(" \t,;") for line in lines[first:]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy's "no data"
            table = np.loadtxt(io.StringIO("\n".join(rows)), delimiter=delimiter, ndmin=2, comments=None)
    except ValueError as error:
        raise ValueError(f"{path}: expected lines of numbers, got {str(error).splitlines()[0]}") from None
    number, names = column_names(columns)
    if number is not None and table.shape[1] != number:
        raise ValueError(f"{path}: expected {number} columns, got {table.shape[1]}")
    if names or header:
        return named_columns(table, names or header or (), path)
    return split_columns(table, path)


def read_npy(path: Path, columns: Columns | None = None) -> RawGeometry:
    """Array [N, 3..7] of a `.npy` file, columns as in a text table."""
    return _split_array(load_npy(path), path, columns)


def read_npz(path: Path, columns: Columns | None = None) -> RawGeometry:
    """Arrays `points` (or the only array of the file), `normals`, `colors`, `intensity` and `faces` of a `.npz` file."""
    arrays, names = load_npz(path, ("points", *ARRAYS))
    key = names[0] if len(names) == 1 else "points"
    if key not in arrays:
        raise ValueError(f"{path}: expected an array named points, got {', '.join(names) or 'no array'}")
    raw = _split_array(arrays.pop(key), path, columns)
    if "colors" in arrays:
        arrays["colors"] = as_uint8_colors(arrays["colors"], path)
    if "intensity" in arrays:
        arrays["intensity"] = arrays["intensity"].reshape(-1)
    for name in ARRAYS:
        if name in arrays and arrays[name].dtype.kind not in "fiu":
            raise ValueError(f"{path}: expected numbers in {name}, got {arrays[name].dtype}")
    return RawGeometry(**{**vars(raw), **arrays})


def read_bin(path: Path, columns: Columns | None = None) -> RawGeometry:
    """Raw little-endian float32 rows: KITTI (x y z intensity) or, for `.pcd.bin`, nuScenes (x y z intensity ring).

    Args:
        path: the file.
        columns: numbers a point, at least 3, or their names; 5 for `.pcd.bin` and else 4 when None. The fourth is the intensity;
            six may hold normals or colours instead, as a text table.

    Raises:
        ValueError: the size is not a whole number of points, or, without `columns`, the values do not look like such points.
    """
    number, names = column_names(columns)
    guessed = number is None
    if number is None:
        number = 5 if path.name.lower().endswith(".pcd.bin") else 4
    size = path.stat().st_size
    if size % (4 * number):
        fits = [str(count) for count in (3, 4, 5, 6, 7) if size % (4 * count) == 0]
        hint = f"; --columns {' or '.join(fits)} would fit" if fits else ""
        raise ValueError(
            f"{path}: expected a multiple of {4 * number} bytes ({number} float32 a point), got {size} bytes{hint}"
        )
    table = np.fromfile(path, dtype="<f4").reshape(-1, number)
    if guessed:
        check_rows(path, table)
    if names:
        return named_columns(table, names, path)
    if number == 6 and holds_normals_or_colors(table):
        return split_columns(table, path)
    return RawGeometry(points=table[:, :3], intensity=table[:, 3] if number > 3 else None)


def _split_array(table: np.ndarray, path: Path, columns: Columns | None) -> RawGeometry:
    number, names = column_names(columns)
    if number is not None and (table.ndim != 2 or table.shape[1] != number):
        raise ValueError(f"{path}: expected an array [N, {number}], got {list(table.shape)}")
    return named_columns(table, names, path) if names else split_columns(table, path)


def _text_lines(path: Path) -> list[str]:
    """Lines with something besides comments; text that is no UTF-8 is taken for Latin-1."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text or (text[:4096] and sum(ord(c) < 9 or 14 <= ord(c) < 32 for c in text[:4096]) > 0):
        raise ValueError(f"{path}: expected a text file with one point a line, got binary data")
    lines = text.splitlines()
    for mark in COMMENTS:
        lines = [line.partition(mark)[0] for line in lines]
    return [line.strip(" \t") for line in lines if line.strip()]


def _text_layout(path: Path, lines: list[str]) -> tuple[list[str] | None, str | None, int]:
    """Column names of a header line (None without one), delimiter (None for blanks) and the lines before the numbers."""
    header = None
    for number, line in enumerate(lines):
        delimiter = next((mark for mark in ",;" if mark in line.rstrip(" \t,;")), None)
        cells = [cell.strip().strip('"').lower() for cell in line.rstrip(" \t,;").split(delimiter)]
        if all(_is_number(cell) for cell in cells):
            if number == 0 and len(cells) == 1 and cells[0] == str(len(lines) - 1):
                continue  # how many points there are
            return header, delimiter, number
        if header is not None or {"x", "y", "z"} - set(cells):
            raise ValueError(f"{path}: expected lines of numbers, got {line[:60]!r} in line {number + 1}")
        header = cells
    raise ValueError(f"{path}: expected one point a line, got no line of numbers")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
