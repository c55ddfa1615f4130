"""Reader of LAS and LAZ files through laspy, whose header is checked against the file first."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.files.raw import RawGeometry, as_uint8_colors

CHUNK = 200_000  # points of a .laz file that are unpacked at a time
COLORS = ("red", "green", "blue")


def read_las(path: Path) -> RawGeometry:
    """Points with colours and intensity where they were written: a format with a place for colours often has none in it.

    Raises:
        ValueError: a damaged file, or fewer points than its header says.
        ImportError: laspy, or a decompressor, is not installed.
    """
    try:
        import laspy
    except ImportError:
        raise ImportError(f"{path}: reading {path.suffix} needs laspy: pip install 'laspy[lazrs]'") from None
    _check_header(path)
    try:
        with laspy.open(path) as reader:
            count = reader.header.point_count
            parts = [_columns(chunk) for chunk in reader.chunk_iterator(CHUNK)]
    except ImportError as error:
        raise ImportError(f"{path}: {error}") from None
    except (Exception, BaseException) as error:  # laspy and lazrs raise whatever the damage leads to, Rust's panics among it
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        if "laz" in str(error).lower() and "backend" in str(error).lower():
            raise ImportError(f"{path}: reading .laz needs a decompressor: pip install 'laspy[lazrs]'") from None
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"{path}: expected a LAS file, got {reason}") from None
    found = sum(len(part["points"]) for part in parts)
    if found != count or not parts:
        raise ValueError(f"{path}: expected {count} points as its header says, got {found} (truncated?)")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    colors = joined.get("colors")
    if colors is not None:  # 16 bits, or 8 in old files
        colors = as_uint8_colors(colors // 256 if colors.max(initial=0) > 255 else colors, path)
    return RawGeometry(joined["points"], colors=colors, intensity=joined.get("intensity"))


def _columns(chunk: Any) -> dict[str, np.ndarray]:
    names = set(chunk.point_format.dimension_names)
    axes = [np.asarray(getattr(chunk, axis), dtype=np.float64) for axis in "xyz"]
    columns = {"points": np.stack(axes, axis=1)}
    if set(COLORS) <= names:
        columns["colors"] = np.stack([np.asarray(chunk[name]) for name in COLORS], axis=1)
    if "intensity" in names:
        columns["intensity"] = np.asarray(chunk["intensity"], dtype=np.float64)
    return columns


def _check_header(path: Path) -> None:
    """Raises ValueError where the header claims more than the file has room for."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(375)
    if len(header) < 227 or header[:4] != b"LASF":
        raise ValueError(f"{path}: expected a LAS file, got one that does not begin with a header of LASF")
    minor = header[25]
    header_size, first, num_records = struct.unpack_from("<HII", header, 94)
    kind, row, count = struct.unpack_from("<BHI", header, 104)
    if minor >= 4 and len(header) >= 255:
        count = struct.unpack_from("<Q", header, 247)[0] or count
        extended = struct.unpack_from("<I", header, 243)[0]
    else:
        extended = 0
    if num_records * 54 > size or extended * 60 > size or header_size > size or first > size:
        raise ValueError(f"{path}: expected a LAS file, got a header that claims more records than {size} bytes hold")
    packed = bool(kind & 0xC0)
    if not packed and row * count > size - first:
        room = (size - first) // row if row else 0
        raise ValueError(f"{path}: expected {count} points as its header says, got {room} (truncated?)")
    scales = struct.unpack_from("<3d3d", header, 131)
    if not np.isfinite(scales).all():
        raise ValueError(f"{path}: expected a LAS file, got scales and offsets that are not finite")
