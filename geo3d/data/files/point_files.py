"""Readers of point-cloud files: text tables, NumPy arrays, raw float32 (`.bin`), PCD and LAS."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEADER_NAMES = {"nx": "normal_x", "ny": "normal_y", "nz": "normal_z", "r": "red", "g": "green", "b": "blue", "i": "intensity"}
TABLE_LAYOUTS = (
    "3 (x y z), 4 (+ intensity), 5 (+ intensity, one ignored), 6 (+ unit normals or colours) or 7 (+ label, ignored)"
)


@dataclass(frozen=True)
class RawGeometry:
    """What a file holds, before any check of its values.

    points [N, 3] float; normals [N, 3] float; colors [N, 3] or [N, 4] uint8; intensity [N] float; faces [F, 3] integer.
    """

    points: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    intensity: np.ndarray | None = None
    faces: np.ndarray | None = None


def read_text(path: Path) -> RawGeometry:
    """Table of one point a line, comma, semicolon or blank separated, with an optional line of column names.

    Raises:
        ValueError: no text, no numbers, a number of columns that no layout has, lines of different length.
    """
    header, delimiter, skip = _text_layout(path)
    try:
        table = np.loadtxt(path, delimiter=delimiter, skiprows=skip, ndmin=2, comments=["#", "//"], encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected lines of numbers, got {str(error).splitlines()[0]}") from None
    return _named_columns(table, header, path) if header else split_columns(table, path)


def read_npy(path: Path) -> RawGeometry:
    """Array [N, 3..7] of a `.npy` file, columns as in a text table."""
    return split_columns(_load_numpy(path), path)


def read_npz(path: Path) -> RawGeometry:
    """Arrays `points` (or the only array of the file), `normals`, `colors`, `intensity` and `faces` of a `.npz` file."""
    with _load_numpy(path) as archive:
        key = archive.files[0] if len(archive.files) == 1 else "points"
        if key not in archive.files:
            raise ValueError(f"{path}: expected an array named points, got {', '.join(archive.files) or 'no array'}")
        try:
            arrays = {name: archive[name] for name in {key, "normals", "colors", "intensity", "faces"} & set(archive.files)}
        except ValueError as error:  # an array of Python objects
            raise ValueError(f"{path}: expected arrays of numbers, got {error}") from None
    raw = split_columns(arrays.pop(key), path)
    if "colors" in arrays:
        arrays["colors"] = as_uint8_colors(arrays["colors"], path)
    return RawGeometry(**{**vars(raw), **arrays})


def read_bin(path: Path, columns: int | None = None) -> RawGeometry:
    """Raw little-endian float32 rows: KITTI (x y z intensity) or, for `.pcd.bin`, nuScenes (x y z intensity ring).

    Args:
        path: the file.
        columns: numbers a point, at least 3; 5 for `.pcd.bin` and else 4 when None. The fourth is the intensity; six are
            split as in a text table.

    Raises:
        ValueError: the size is not a whole number of points.
    """
    if columns is None:
        columns = 5 if path.name.lower().endswith(".pcd.bin") else 4
    if columns < 3:
        raise ValueError(f"columns must be at least 3 (x y z), got {columns}")
    size = path.stat().st_size
    if size % (4 * columns):
        fits = [str(count) for count in (3, 4, 5, 6, 7) if size % (4 * count) == 0]
        hint = f"; columns={' or '.join(fits)} would fit" if fits else ""
        raise ValueError(
            f"{path}: expected a multiple of {4 * columns} bytes ({columns} float32 a point), got {size} bytes{hint}"
        )
    table = np.fromfile(path, dtype="<f4").reshape(-1, columns)
    if columns == 6:
        return split_columns(table, path)
    return RawGeometry(points=table[:, :3], intensity=table[:, 3] if columns > 3 else None)


def read_pcd(path: Path) -> RawGeometry:
    """PCD file (ascii, binary or compressed) through Open3D, with normals, colours and intensity where present."""
    if b"VERSION" not in path.read_bytes()[:1024]:
        raise ValueError(f"{path}: expected a PCD file (a header with VERSION), got something else")
    try:
        import open3d
    except ImportError as error:
        raise ImportError(f"{path}: reading .pcd needs open3d (pip install open3d): {error}") from None

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        try:
            cloud = open3d.t.io.read_point_cloud(path, format="pcd", remove_nan_points=False)
        except RuntimeError as error:
            raise ValueError(f"{path}: expected a PCD file, got {str(error).splitlines()[-1]}") from None
    if "positions" not in cloud.point:
        raise ValueError(f"{path}: expected a PCD file with points, got none (damaged or truncated file?)")
    fields = {
        name: cloud.point[name].numpy() for name in ("positions", "normals", "colors", "intensity") if name in cloud.point
    }
    return RawGeometry(
        points=fields["positions"],
        normals=fields.get("normals"),
        colors=as_uint8_colors(fields["colors"], path) if "colors" in fields else None,
        intensity=fields["intensity"].reshape(-1) if "intensity" in fields else None,
    )


def read_las(path: Path) -> RawGeometry:
    """LAS or LAZ file through laspy, with colours and intensity where present."""
    try:
        import laspy
    except ImportError:
        raise ImportError(f"{path}: reading {path.suffix} needs laspy: pip install 'laspy[lazrs]'") from None
    try:
        cloud = laspy.read(path)
    except ImportError as error:
        raise ImportError(f"{path}: {error}") from None
    except Exception as error:  # laspy raises its own errors, struct.error and more on damaged files
        if "laz" in str(error).lower() and "backend" in str(error).lower():
            raise ImportError(f"{path}: reading .laz needs a decompressor: pip install 'laspy[lazrs]'") from None
        raise ValueError(f"{path}: expected a LAS file, got {error}") from None
    names = set(cloud.point_format.dimension_names)
    colors = None
    if {"red", "green", "blue"} <= names:
        colors = np.stack([np.asarray(cloud[name]) for name in ("red", "green", "blue")], axis=1)
        colors = as_uint8_colors(colors // 256 if colors.max(initial=0) > 255 else colors, path)  # 16 bits, or 8 in old files
    intensity = np.asarray(cloud.intensity, dtype=np.float64) if "intensity" in names else None
    return RawGeometry(points=np.asarray(cloud.xyz), colors=colors, intensity=intensity)


def split_columns(table: np.ndarray, path: Path) -> RawGeometry:
    """Splits [N, 3..7] into points and what the further columns are.

    Columns 4 to 6 are normals if nearly all rows have length 1, else colours in 0..1 or 0..255.

    Raises:
        ValueError: another shape or dtype, or columns that are neither normals nor colours.
    """
    if table.ndim != 2 or not 3 <= table.shape[1] <= 7 or table.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected an array [N, C] of numbers with C = {TABLE_LAYOUTS}, got {list(table.shape)} {table.dtype}"
        )
    points, rest = table[:, :3], table[:, 3:6]
    if table.shape[1] == 3:
        return RawGeometry(points)
    if table.shape[1] < 6:
        return RawGeometry(points, intensity=table[:, 3])
    length = np.linalg.norm(rest.astype(np.float64), axis=1)
    length = length[np.isfinite(length)]
    if len(length) and np.mean(np.abs(length - 1) < 0.02) > 0.95:
        return RawGeometry(points, normals=rest)
    return RawGeometry(points, colors=as_uint8_colors(rest, path))


def as_uint8_colors(colors: np.ndarray, path: Path) -> np.ndarray:
    """Colours of 0..1 or 0..255 as uint8; non-finite ones become black.

    Raises:
        ValueError: not [N, 3] or [N, 4], or values outside 0..255.
    """
    if colors.ndim != 2 or colors.shape[1] not in (3, 4):
        raise ValueError(f"{path}: expected colours [N, 3], got {list(colors.shape)}")
    if colors.dtype == np.uint8:
        return colors[:, :3]
    values = np.nan_to_num(colors[:, :3].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 255:
        raise ValueError(f"{path}: expected unit normals, or colours in 0..1 or 0..255, got values from {low:g} to {high:g}")
    return np.round(values * 255 if high <= 1 else values).astype(np.uint8)


def _text_layout(path: Path) -> tuple[list[str] | None, str | None, int]:
    """Column names of a header line (None without one), delimiter (None for blanks) and the lines before the numbers."""
    header = None
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file):
                line = line.strip()
                if not line or line.startswith(("#", "//")):
                    continue
                delimiter = next((mark for mark in ",;" if mark in line), None)
                cells = [cell.strip().strip('"').lower() for cell in line.rstrip(",;").split(delimiter)]
                if all(_is_number(cell) for cell in cells):
                    return header, delimiter, number
                if header is not None or {"x", "y", "z"} - set(cells):
                    raise ValueError(f"{path}: expected lines of numbers, got {line[:60]!r} in line {number + 1}")
                header = cells
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text file with one point a line, got binary data") from None
    raise ValueError(f"{path}: expected one point a line, got no line of numbers")


def _named_columns(table: np.ndarray, header: list[str], path: Path) -> RawGeometry:
    """Picks the columns of a table by the names in its first line; unknown names are ignored."""
    if len(header) != table.shape[1]:
        raise ValueError(f"{path}: expected {len(header)} columns as in its first line, got {table.shape[1]}")
    column = {HEADER_NAMES.get(name, name): table[:, index] for index, name in enumerate(header)}

    def pick(*names: str) -> np.ndarray | None:
        return np.stack([column[name] for name in names], axis=1) if set(names) <= set(column) else None

    colors = pick("red", "green", "blue")
    return RawGeometry(
        points=np.stack([column["x"], column["y"], column["z"]], axis=1),
        normals=pick("normal_x", "normal_y", "normal_z"),
        colors=None if colors is None else as_uint8_colors(colors, path),
        intensity=column.get("intensity"),
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _load_numpy(path: Path):
    """np.load without pickles, with errors of one line."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected a NumPy file of numbers, got {str(error).splitlines()[0]}") from None
