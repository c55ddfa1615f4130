"""What the columns of a table of points are: by their names, by the user's word, or guessed and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geo3d.data.files.raw import AXES, RawGeometry, as_uint8_colors, from_columns

LAYOUTS = (
    "3 (x y z), 4 (+ intensity), 5 (+ intensity, one ignored), 6 (+ unit normals or colours) or 7 (+ label, ignored; "
    "or intensity and colours)"
)
SHORT_NAMES = {"r": "red", "g": "green", "b": "blue", "i": "intensity"}
IGNORED = "_"
CHECKED_WIDTHS = (3, 4, 5, 6, 7)
MIN_ROWS = 32  # without which nothing is said about the widths of rows
MAX_ROWS = 20_000  # that are looked at
BINS = 32  # of the values' ranks
MUCH_TOLD, TIMES_TOLD = 0.15, 1.5  # nats more, and times as much, that another width must tell
TINY = 1e-30  # float32 below are the bits of small whole numbers
MAX_STRANGE = 0.3  # share of those; one column of whole numbers is none too many
Columns = int | str | Sequence[str]


def column_names(columns: Columns | None) -> tuple[int | None, tuple[str, ...] | None]:
    """Number of columns, and their names where the user gave them: 5, or "x,y,z,intensity,_".

    Raises:
        ValueError: fewer than three columns, or names without x, y and z or with one twice.
    """
    if columns is None or isinstance(columns, int):
        if columns is not None and columns < 3:
            raise ValueError(f"columns must be at least 3 (x y z), got {columns}")
        return columns, None
    if isinstance(columns, str):
        if columns.strip().isdigit():
            return column_names(int(columns))
        columns = columns.split(",")
    names = tuple(SHORT_NAMES.get(name.strip().lower(), name.strip().lower()) for name in columns)
    repeated = [name for name in names if name != IGNORED and names.count(name) > 1]
    if set(AXES) - set(names) or repeated:
        raise ValueError(f"columns must name x, y and z, and each name once (_ for what is ignored), got {','.join(names)}")
    return len(names), names


def named_columns(table: np.ndarray, names: Sequence[str], path: Path) -> RawGeometry:
    """Picks the columns of a table [N, len(names)] by their names; unknown names are ignored.

    Raises:
        ValueError: another number of columns, or no x, y, z.
    """
    if len(names) != table.shape[1]:
        raise ValueError(f"{path}: expected {len(names)} columns ({','.join(names)}), got {table.shape[1]}")
    return from_columns({name: table[:, index] for index, name in enumerate(names) if name != IGNORED}, path)


def split_columns(table: np.ndarray, path: Path) -> RawGeometry:
    """Splits [N, 3..7] into points and what the further columns are.

    Columns 4 to 6 are normals if nearly all rows have length 1 (or 0: no normals), else colours in 0..1 or 0..255. Of seven columns
    the last is a label, unless columns 5 to 7 are the colours.

    Raises:
        ValueError: another shape or dtype, columns that are neither normals nor colours, or that may be one thing or another.
    """
    if table.ndim != 2 or not 3 <= table.shape[1] <= 7 or table.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected an array [N, C] of numbers with C = {LAYOUTS}, got {list(table.shape)} {table.dtype}; "
            "--columns x,y,z,... names them"
        )
    points, rest = table[:, :3], table[:, 3:6]
    if table.shape[1] == 3:
        return RawGeometry(points)
    if table.shape[1] < 6:
        return RawGeometry(points, intensity=table[:, 3])
    if _are_normals(rest):
        return RawGeometry(points, normals=rest)
    if table.shape[1] == 6:
        if not _are_colors(rest):
            raise ValueError(
                f"{path}: expected unit normals, or colours in 0..1 or 0..255, in columns 4 to 6, got values from "
                f"{np.nanmin(rest):g} to {np.nanmax(rest):g}; --columns x,y,z,intensity,... names what they are"
            )
        return RawGeometry(points, colors=as_uint8_colors(rest, path))
    colors_then_label, intensity_then_colors = _are_colors(rest) and _are_labels(table[:, 6]), _are_colors(table[:, 4:7])
    if colors_then_label == intensity_then_colors:
        raise ValueError(
            f"{path}: 7 columns that may be x y z red green blue label or x y z intensity red green blue; say which with "
            "--columns x,y,z,intensity,r,g,b (or x,y,z,r,g,b,_)"
        )
    if colors_then_label:
        return RawGeometry(points, colors=as_uint8_colors(rest, path))
    return RawGeometry(points, colors=as_uint8_colors(table[:, 4:7], path), intensity=table[:, 3])


def check_rows(path: Path, table: np.ndarray) -> None:
    """Raises ValueError if float32 rows [N, C] of a raw file would make better sense in another width or type.

    The columns of points have distributions of their own (x and y reach far, z and intensities do not). Read in a wrong width each
    column takes of all, and its values tell nothing about which column it is.
    """
    flat = table.reshape(-1)
    if len(table) < MIN_ROWS:
        return
    if _are_doubles(flat):
        raise ValueError(f"{path}: expected float32 numbers, got what looks like float64; save it as .npy, or as float32")
    sizes = np.abs(flat[np.isfinite(flat)])
    if len(sizes) and np.mean((sizes > 0) & (sizes < TINY)) > MAX_STRANGE:
        raise ValueError(f"{path}: expected points of float32 numbers, got values that are none (labels or a mask?)")
    width = table.shape[1]
    told = {other: _column_information(flat, other) for other in CHECKED_WIDTHS if len(flat) % other == 0 or other == width}
    best = max(told, key=lambda other: (told[other], -other))
    if told[best] > MUCH_TOLD + TIMES_TOLD * told.get(width, 0.0):
        raise ValueError(
            f"{path}: read as {width} float32 a point, the values jump from row to row; they fit {best} a point. "
            f"Say how many there are with --columns {best} (or {width})"
        )


def _are_doubles(flat: np.ndarray) -> bool:
    """Whether float32 numbers are the halves of float64: upper halves then lie in 0.5..32, and lower ones anywhere."""
    lower, upper = np.abs(flat[0 : len(flat) // 2 * 2 : 2]), np.abs(flat[1 : len(flat) // 2 * 2 : 2])
    usual = (upper > 0.5) & (upper < 32)
    anything = ~((lower > 1e-12) & (lower < 1e9))
    return bool(usual.mean() > 0.75 and anything.mean() > 0.4)


def _column_information(flat: np.ndarray, width: int) -> float:
    """How much a value tells about its column, in nats (mutual information of column and rank, in bins)."""
    table = flat[: len(flat) // width * width].reshape(-1, width)
    rows = np.random.default_rng(0).permutation(len(table))[:MAX_ROWS]  # not every n-th, which may be of one column
    table = np.nan_to_num(table[rows])
    ranks = np.searchsorted(np.unique(np.quantile(table, np.linspace(0, 1, BINS + 1)[1:-1])), table.reshape(-1), side="right")
    columns = np.tile(np.arange(width), len(table))
    counts = np.bincount(columns * BINS + ranks, minlength=width * BINS).reshape(width, BINS) / len(ranks)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True)
    seen = counts > 0
    chance = (width - 1) * (BINS - 1) / (2 * len(ranks))  # what columns without meaning seem to tell
    return float((counts[seen] * np.log(counts[seen] / expected[seen])).sum() - chance)


def holds_normals_or_colors(table: np.ndarray) -> bool:
    """Whether columns 4 to 6 of a table [N, 6] are normals or colours, not measurements of a sensor."""
    return _are_normals(table[:, 3:6]) or _are_colors(table[:, 3:6])


def _are_normals(columns: np.ndarray) -> bool:
    """Whether nearly all rows have length 1, or 0."""
    length = np.linalg.norm(columns.astype(np.float64), axis=1)
    length = length[np.isfinite(length)]
    return len(length) > 0 and bool(np.mean((np.abs(length - 1) < 0.02) | (length == 0)) > 0.95)


def _are_colors(columns: np.ndarray) -> bool:
    """Whether all numbers are whole ones of 0..255, or fractions of 0..1."""
    values = columns[np.isfinite(columns).all(1)]
    if not len(values) or values.min() < 0 or values.max() > 255:
        return False
    return bool(values.max() <= 1 or np.array_equal(values, np.round(values)))


def _are_labels(column: np.ndarray) -> bool:
    """Whether the numbers are whole, and few different ones for so many points."""
    values = column[np.isfinite(column)]
    if not len(values) or not np.array_equal(values, np.round(values)):
        return False
    return len(np.unique(values)) <= max(2, min(64, len(values) // 2))
