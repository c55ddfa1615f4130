"""LiDAR sweeps: one frame of any data set as a `LidarSample`, and a reader of sweep files.

sample = read_sweep("velodyne/000008.bin")  # points [N, 4]; the folder and the file's name say that it is KITTI's
sample.points[:, 3], sample.features         # ("intensity",)

Rows with a number that is not finite are silently dropped: some sensors and converters mark missing returns by NaN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from geo3d.data.files.geometry import SUFFIXES, TABLES, map_offset, read_geometry
from geo3d.data.files.numpy_files import load_npy
from geo3d.data.files.raw import AXES
from geo3d.data.files.tables import IGNORED, Columns, check_rows, column_names
from geo3d.data.lidar.box_files import sweep_name
from geo3d.data.lidar.sensors import SENSORS, Sensor
from geo3d.geometry.cameras import Camera

SweepFormat = Literal["kitti", "nuscenes", "waymo", "argoverse2"]
FEATURES: dict[str, tuple[str, ...]] = {
    "kitti": ("intensity",),  # 0..1
    "nuscenes": ("intensity", "ring"),  # 0..255, 0..31
    "waymo": ("intensity", "elongation", "no_label_zone"),  # as stored: unbounded, unbounded, 1 inside and -1 outside
    "argoverse2": ("intensity", "laser", "time"),  # 0..255, 0..63, seconds since the sweep began
}
ARROW = "pip install pyarrow"
EVEN_ROWS, ROWS_LOOKED_AT = 840, 8 * 840  # whole rows of 3 to 8 columns, whatever the width they are read with


@dataclass(frozen=True, eq=False)
class CameraView:
    """An image beside a sweep: the camera's name, its file, and the camera, whose LiDAR frame is that of the points."""

    name: str
    path: Path
    camera: Camera

    def read(self) -> np.ndarray:
        """The image, [height, width, 3] uint8 RGB.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not an image.
        """
        import cv2

        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such image")
        image = cv2.imdecode(np.fromfile(self.path, np.uint8), cv2.IMREAD_COLOR) if self.path.stat().st_size else None
        if image is None:
            raise ValueError(f"{self.path}: expected an image")
        return np.ascontiguousarray(image[..., ::-1])


def _no_boxes() -> Tensor:
    return torch.zeros(0, 7)


@dataclass(frozen=True, eq=False)
class LidarSample:
    """One frame: a sweep, or several joined, with boxes where they are known. K and J may be 0.

    Attributes:
        points: [N, 3 + F] float32, finite, x y z in metres and the columns named by `features`. N may be 0.
        features: names of the columns after x y z.
        frame: the data set's name of the frame.
        source: the file of the sweep.
        boxes: [K, 7] or, with velocities, [K, 9] float32; see `geo3d.geometry.boxes`.
        labels: [K] int64 index into `class_names`.
        class_names: the classes that labels count.
        num_points: [K] int64 points in each box as annotated, or None where the data set does not say.
        difficulty: [K] int64, the data set's own grade (KITTI: 0 easy, 1 moderate, 2 hard, -1 none of them), or None.
        other_boxes: [J, 7 or 9] float32, labelled objects of classes that are not in `class_names`.
        other_names: J names of their classes.
        cameras: images of the same moment, where there are any.
        offset: [3] float64, what was subtracted from the file's coordinates; zero unless they are too large for float32.
        sensor: how the data set mounts its LiDAR, or None where the file does not tell.
    """

    points: Tensor
    features: tuple[str, ...]
    frame: str
    source: Path
    boxes: Tensor = field(default_factory=_no_boxes)
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    class_names: tuple[str, ...] = ()
    num_points: Tensor | None = None
    difficulty: Tensor | None = None
    other_boxes: Tensor = field(default_factory=_no_boxes)
    other_names: tuple[str, ...] = ()
    cameras: tuple[CameraView, ...] = ()
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    sensor: Sensor | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3 + len(self.features):
            raise ValueError(f"LidarSample: points must be [N, 3 + {len(self.features)}], got {list(self.points.shape)}")
        if self.boxes.ndim != 2 or self.boxes.shape[1] not in (7, 9) or len(self.labels) != len(self.boxes):
            shapes = f"{list(self.boxes.shape)} and {list(self.labels.shape)}"
            raise ValueError(f"LidarSample: boxes must be [K, 7] or [K, 9] and labels [K], got {shapes}")

    @property
    def names(self) -> list[str]:
        """Class name of each box."""
        return [self.class_names[label] for label in self.labels.tolist()]


def read_sweep(path: str | Path, *, format: SweepFormat | None = None, columns: Columns | None = None) -> LidarSample:
    """Reads one sweep, of a LiDAR data set or any other file of points. No boxes: the data sets' own classes read those.

    Args:
        path: `.bin` (KITTI, Waymo in KITTI's layout, nuScenes' `.pcd.bin`, Lyft), `.npy` (Waymo as processed by OpenPCDet, or any
            [N, C] array), `.feather` (Argoverse 2), or a file that `geo3d.data.files.geometry.read_geometry` reads (.pcd .ply .las ...).
        format: the layout of a `.bin` file where its name does not tell. By name: `.pcd.bin` and Lyft's `host-...` are nuScenes
            (5 numbers a point), names of 7 digits are Waymo in KITTI's layout (6), all others KITTI (4); values that do not look
            like rows of that width are refused.
        columns: or the numbers a point of a table (.bin, .npy or text), or their names, such as "x,y,z,intensity,ring".

    Returns:
        Sample without boxes, `frame` being the name of the file. An array or table without rows gives no points.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty, truncated or damaged file, or one of an unknown kind.
        ImportError: the format needs a package that is not installed; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder, expected a file' if path.is_dir() else 'no such file'}")
    if format is not None and format not in get_args(SweepFormat):
        raise ValueError(f"read_sweep: format must be one of {list(get_args(SweepFormat))}, got {format!r}")
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, ".feather"):
        raise ValueError(f"{path}: unknown suffix {suffix or 'of no kind'!r}, expected one of .feather {' '.join(SUFFIXES)}")
    if format is not None and suffix not in (".bin", ".npy"):
        raise ValueError(f"{path}: format is for .bin files, got {suffix}")
    if columns is not None and suffix not in TABLES:
        raise ValueError(f"{path}: columns are for tables ({' '.join(TABLES)}), got {suffix}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: expected points, got an empty file")
    offset, sensor = np.zeros(3), None
    if suffix == ".bin":
        layout = format if format is not None or columns is not None else _guessed_layout(path.name.lower())
        points, features = _read_bin(path, layout, columns, guessed=format is None)
        sensor = SENSORS["lyft" if is_lyft(path) else layout] if layout is not None else None
    elif suffix == ".npy":
        points, features = _read_npy(path, columns)
    elif suffix == ".feather":
        points, features = _read_feather(path)
        sensor = SENSORS["argoverse2"]
    else:
        geometry = read_geometry(path, columns=columns)
        points, features, offset = geometry.points, (), geometry.offset
        if geometry.intensity is not None:
            points, features = np.column_stack([points, geometry.intensity]), ("intensity",)
    frame = sweep_name(path)
    if suffix in (".bin", ".npy", ".feather"):
        offset = map_offset(points[np.isfinite(points).all(1), :3].astype(np.float64))
        if offset.any():
            points = np.column_stack([points[:, :3].astype(np.float64) - offset, points[:, 3:]])
    if features == FEATURES["waymo"]:
        sensor = SENSORS["waymo"]
    return LidarSample(finite_points(points), features, frame, path, offset=offset, sensor=sensor)


def finite_points(points: Any) -> Tensor:
    """[N, C] float32 tensor of the rows [M, C] whose numbers are all finite."""
    table = np.ascontiguousarray(points, dtype=np.float32)
    finite = np.isfinite(table).all(1)
    return torch.from_numpy(table if finite.all() else table[finite])


def read_float_rows(path: Path, columns: int) -> np.ndarray:
    """Rows [N, columns] of little-endian float32, the `.bin` files of KITTI, nuScenes and others.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file, or a size that is not a whole number of rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if columns < 3:
        raise ValueError(f"columns must be at least 3 (x y z), got {columns}")
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path}: expected points, got an empty file")
    if size % (4 * columns):
        raise ValueError(
            f"{path}: expected rows of {columns} float32, got {size} bytes (truncated, or another format? --columns N says how many)"
        )
    return np.fromfile(path, "<f4").reshape(-1, columns)


def read_checked_rows(path: Path, layout: SweepFormat) -> np.ndarray:
    """Rows of a data set's sweep, whose values must look like rows of its width.

    Raises:
        FileNotFoundError, ValueError: as `read_float_rows`; or values that fit another number of columns, or no points at all.
    """
    rows = read_float_rows(path, 3 + len(FEATURES[layout]))
    try:
        check_rows(path, rows[: max(len(rows) // EVEN_ROWS, 1) * EVEN_ROWS][:ROWS_LOOKED_AT])
    except ValueError as error:
        raise ValueError(f"{str(error).split('. Say')[0]}; sweeps of {layout} have {rows.shape[1]}") from None
    return rows


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file from its header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.size
    except UnidentifiedImageError:
        raise ValueError(f"{path}: expected an image") from None


def read_arrow(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    optional: Sequence[str] = (),
    equals: tuple[str, int] | None = None,
) -> Any:
    """A pyarrow Table of a `.feather` or `.parquet` file.

    Args:
        path: the file.
        columns: those that must be there; of a `.parquet` file no others are read but `optional` ones, where they are there.
        equals: a column and its value; of a `.parquet` file only rows with that value are read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one without the columns.
        ImportError: pyarrow is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        import pyarrow
        from pyarrow import feather, parquet
    except ImportError:
        raise ImportError(f"{path}: reading {path.suffix} needs pyarrow: {ARROW}") from None
    try:
        if path.suffix == ".feather":
            table = feather.read_table(path)
        else:
            present = parquet.read_schema(path).names
            wanted = None if columns is None else [name for name in (*columns, *optional) if name in present]
            rows = None if equals is None or equals[0] not in present else [(equals[0], "=", equals[1])]
            table = parquet.read_table(path, columns=wanted, filters=rows)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: expected a {path.suffix} table, got {str(error).splitlines()[0]}") from None
    missing = [name for name in columns or () if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: expected columns {', '.join(missing)}, got {', '.join(table.column_names)}")
    return table


def is_lyft(path: Path) -> bool:
    """Whether a sweep has a name of Lyft's."""
    return path.name.lower().startswith("host-")


def _guessed_layout(name: str) -> str:
    if name.endswith(".pcd.bin") or name.startswith("host-"):
        return "nuscenes"
    return "waymo" if re.fullmatch(r"\d{7}\.bin", name) else "kitti"


def _read_bin(path: Path, layout: str | None, columns: Columns | None, guessed: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    number, names = column_names(columns)
    if layout == "argoverse2":
        raise ValueError(f"{path}: Argoverse 2 sweeps are .feather files")
    if layout is not None:
        features = FEATURES[layout]
        if number is not None and number != 3 + len(features):
            raise ValueError(f"{path}: format {layout!r} has {3 + len(features)} columns, got columns={columns}")
        rows = read_float_rows(path, 3 + len(features))
        if guessed:
            check_rows(path, rows)
        return rows, features
    assert number is not None
    return _named(read_float_rows(path, number), names)


def _named(rows: np.ndarray, names: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """x, y, z and the other columns, intensity first, of rows whose columns have these names."""
    if names is None:
        return rows, feature_names(rows.shape[1] - 3)
    features = sorted((name for name in names if name not in (*AXES, IGNORED)), key=lambda name: name != "intensity")
    return rows[:, [names.index(name) for name in (*AXES, *features)]], tuple(features)


def feature_names(count: int) -> tuple[str, ...]:
    """Names for columns after x y z of which only the number is known: intensity first."""
    return ("intensity", *(f"feature_{index}" for index in range(1, count)))[:count]


def _read_npy(path: Path, columns: Columns | None) -> tuple[np.ndarray, tuple[str, ...]]:
    table = load_npy(path)
    number, names = column_names(columns)
    if table.ndim != 2 or table.shape[1] < 3 or table.dtype.kind not in "fiu" or number not in (None, table.shape[1]):
        wanted = f"[N, {number or '3 or more'}]"
        raise ValueError(f"{path}: expected an array {wanted} of numbers, got {list(table.shape)} {table.dtype}")
    if number is None and table.shape[1] == 6 and np.isin(table[:, 5], (-1, 1)).all():
        return table, FEATURES["waymo"]
    return _named(table, names)


def _read_feather(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    names = ["x", "y", "z", "intensity", "laser_number", "offset_ns"]
    table = read_arrow(path, names)
    columns = [table[name].to_numpy().astype(np.float64) for name in names]
    columns[5] = columns[5] * 1e-9
    return np.stack(columns, 1), FEATURES["argoverse2"]
