"""Reader of the Point Cloud Library's PCD files, in text, binary and compressed.

Fields are checked against the file's size before anything is read; padding fields (`_`), of any size and count, are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from geo3d.data.files.raw import RawGeometry, from_columns
from geo3d.geometry.cameras import rigid_matrix

DTYPES = {"F": {4: "<f4", 8: "<f8"}, "I": {1: "i1", 2: "<i2", 4: "<i4", 8: "<i8"}, "U": {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}}
PADDING = "_"
PACKED = ("rgb", "rgba")  # blue in the lowest byte
HEADER_BYTES = 1 << 16
LZF_MOST = 100  # a reference of three bytes stands for at most 264
MIN_PIXELS = 100  # along each side of the image of a depth camera; LiDARs have fewer rows, or far more columns
MAX_ASPECT = 3.0


@dataclass(frozen=True)
class _Field:
    name: str
    dtype: np.dtype
    count: int

    @property
    def size(self) -> int:
        return self.dtype.itemsize * self.count


@dataclass(frozen=True)
class _Header:
    fields: tuple[_Field, ...]
    width: int
    height: int
    points: int
    viewpoint: tuple[float, ...]
    data: str

    @property
    def row(self) -> int:
        return sum(field.size for field in self.fields)


def read_pcd(path: Path) -> RawGeometry:
    """Points with normals, colours and intensity where the file has them.

    Raises:
        ValueError: no PCD file, a truncated one, or one of fields that contradict each other.
    """
    content = path.read_bytes()
    header, start = _read_header(path, content)
    body = memoryview(content)[start:]
    if header.data == "ascii":
        columns = _ascii_columns(path, header, bytes(body))
    elif header.data == "binary":
        columns = _binary_columns(path, header, body)
    else:
        columns = _compressed_columns(path, header, body)
    columns = {name: values for name, values in columns.items() if name.lower() not in PACKED} | _unpacked(columns)
    raw = from_columns(columns, path)
    return RawGeometry(raw.points, raw.normals, raw.colors, raw.intensity, up=_up(header, raw.points))


def _read_header(path: Path, content: bytes) -> tuple[_Header, int]:
    entries: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in entries:
        end = content.find(b"\n", start, start + HEADER_BYTES)
        if end < 0 or start > HEADER_BYTES:
            raise ValueError(f"{path}: expected a PCD file (a header that ends with DATA), got something else")
        words = content[start:end].decode("latin-1").partition("#")[0].split()
        if words:
            entries[words[0].upper()] = words[1:]
        start = end + 1
    names = entries.get("FIELDS", entries.get("COLUMNS", []))
    try:
        sizes, counts = ([int(word) for word in entries.get(key, ["1"] * len(names))] for key in ("SIZE", "COUNT"))
        width, height = (int(entries.get(key, ["1"])[0]) for key in ("WIDTH", "HEIGHT"))
        points = int(entries["POINTS"][0]) if entries.get("POINTS") else width * height
        viewpoint = tuple(float(word) for word in entries.get("VIEWPOINT", []))
        [data] = entries["DATA"]
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: expected numbers in the header of a PCD file, got {error}") from None
    kinds = entries.get("TYPE", [])
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts):
        lengths = f"{len(names)}, {len(sizes)}, {len(kinds)} and {len(counts)}"
        raise ValueError(f"{path}: expected FIELDS, SIZE, TYPE and COUNT of one length in a PCD file, got {lengths}")
    fields = []
    for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True):
        known = {size: f"V{size}"} if name == PADDING and 0 < size <= HEADER_BYTES else DTYPES.get(kind.upper(), {})
        if size not in known or not 0 <= count <= HEADER_BYTES:
            raise ValueError(f"{path}: expected a field of a PCD file, got {name} of TYPE {kind} SIZE {size} COUNT {count}")
        fields.append(_Field(name, np.dtype(known[size]), count))
    if points < 1 or min(width, height) < 0:
        raise ValueError(f"{path}: expected a PCD file with points, got POINTS {points}, WIDTH {width} and HEIGHT {height}")
    if data.lower() not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"{path}: expected DATA ascii, binary or binary_compressed in a PCD file, got {data[:40]!r}")
    return _Header(tuple(fields), width, height, points, viewpoint, data.lower()), start


def _ascii_columns(path: Path, header: _Header, body: bytes) -> dict[str, np.ndarray]:
    wanted = sum(field.count for field in header.fields)
    words = body.split()
    if len(words) != header.points * wanted:
        raise ValueError(
            f"{path}: expected {header.points} points of {wanted} numbers in a PCD file, got {len(words)} numbers (truncated?)"
        )
    try:
        table = np.array(words, dtype=np.float64).reshape(header.points, wanted)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers in a PCD file, got {error}") from None
    columns, first = {}, 0
    for field in header.fields:
        if field.name != PADDING and field.count:
            values = table[:, first]
            packed = field.name.lower() in PACKED and field.dtype.kind == "f"  # a float whose bits are the colour
            columns[field.name] = values.astype(field.dtype) if packed else values
        first += field.count
    return columns


def _binary_columns(path: Path, header: _Header, body: memoryview) -> dict[str, np.ndarray]:
    wanted = header.points * header.row
    if len(body) < wanted:
        raise ValueError(
            f"{path}: expected {header.points} points of {header.row} bytes in a PCD file, got {len(body)} bytes (truncated?)"
        )
    rows = np.frombuffer(body[:wanted], np.uint8).reshape(header.points, header.row)
    columns, first = {}, 0
    for field in header.fields:
        if field.name != PADDING and field.count:
            bytes_of_first = np.ascontiguousarray(rows[:, first : first + field.dtype.itemsize])
            columns[field.name] = bytes_of_first.view(field.dtype)[:, 0]
        first += field.size
    return columns


def _compressed_columns(path: Path, header: _Header, body: memoryview) -> dict[str, np.ndarray]:
    """Field after field, compressed as one."""
    wanted = header.points * header.row
    packed, size = np.frombuffer(body[:8], "<u4").tolist() if len(body) >= 8 else (0, 0)
    if size != wanted or len(body) < 8 + packed or wanted > LZF_MOST * packed:
        raise ValueError(
            f"{path}: expected {wanted} bytes compressed in a PCD file, got {size} compressed to {packed} in {len(body)} (truncated?)"
        )
    table = np.zeros(size, np.uint8)
    if _expand_lzf(np.frombuffer(body[8 : 8 + packed], np.uint8), table) != size:
        raise ValueError(f"{path}: expected compressed points in a PCD file, got damaged ones")
    columns, first = {}, 0
    for field in header.fields:
        if field.name != PADDING and field.count:
            values = table[first : first + field.size * header.points].view(field.dtype)
            columns[field.name] = values.reshape(header.points, field.count)[:, 0]
        first += field.size * header.points
    return columns


@numba.njit(cache=True)
def _expand_lzf(source, target):
    """Fills target [M] from LZF-compressed source [N], both uint8; returns the bytes written, -1 for a damaged source."""
    read, write = 0, 0
    while read < len(source):
        control = int(source[read])
        read += 1
        if control < 32:  # that many bytes and one more as they are
            length = control + 1
            if read + length > len(source) or write + length > len(target):
                return -1
            for step in range(length):
                target[write + step] = source[read + step]
            read += length
        else:  # bytes that were written before
            length = control >> 5
            if length == 7:
                if read >= len(source):
                    return -1
                length += int(source[read])
                read += 1
            length += 2
            if read >= len(source):
                return -1
            place = write - ((control & 31) << 8) - int(source[read]) - 1
            read += 1
            if place < 0 or write + length > len(target):
                return -1
            for step in range(length):
                target[write + step] = target[place + step]
        write += length
    return write


def _unpacked(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """red, green and blue of a field that packs them into 32 bits, whichever its type."""
    packed = next((values for name, values in columns.items() if name.lower() in PACKED), None)
    if packed is None or (packed.dtype.kind == "f" and packed.dtype.itemsize == 8 and not np.isfinite(packed).all()):
        return {}
    if packed.dtype.itemsize == 4:
        bits = np.ascontiguousarray(packed).view(np.uint32)
    else:  # of a text, as a whole number
        bits = packed.astype(np.int64).astype(np.uint32)
    return {name: (bits >> shift & 255).astype(np.uint8) for name, shift in (("red", 16), ("green", 8), ("blue", 0))}


def _up(header: _Header, points: np.ndarray) -> str | None:
    """The axis that points up: of a turned viewpoint its world's z; of the image of a depth camera, which looks along z, minus y."""
    if len(header.viewpoint) == 7 and np.isfinite(header.viewpoint).all():
        quaternion = np.array(header.viewpoint[3:])
        if np.linalg.norm(quaternion) > 0 and np.abs(quaternion[1:]).max() > 1e-3:
            up = rigid_matrix(quaternion, np.zeros(3))[2, :3]  # the world's z in the sensor's frame
            axis = int(np.abs(up).argmax())
            return f"{'-' if up[axis] < 0 else ''}{'xyz'[axis]}"
    sides = sorted((header.width, header.height))
    if sides[0] < MIN_PIXELS or sides[1] > MAX_ASPECT * sides[0]:
        return None
    seen = points[np.isfinite(points).all(1)]
    return "-y" if len(seen) and (seen[:, 2] > 0).mean() > 0.99 else None
