"""Reader of PLY files (Stanford's polygon format), in text and binary of both byte orders.

Counts are checked against the file's size before anything is read. Polygons of mixed sizes, triangle strips and lists at vertices
are taken as they come; elements other than vertices, faces and strips are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from geo3d.data.files.raw import RawGeometry, fan_triangles, from_columns

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float32": "f4", "float64": "f8", "int64": "i8", "uint64": "u8"},
}
ORDERS: dict[str, Literal["", "<", ">"]] = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")
HEADER_BYTES = 1 << 20
Lists = tuple[np.ndarray, np.ndarray]  # the length of each row's list, and all numbers one after the other


@dataclass(frozen=True)
class _Property:
    name: str
    dtype: np.dtype
    length: np.dtype | None  # of a list's length


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)

    @property
    def smallest_row(self) -> int:
        """Bytes of a row whose lists are empty; a text takes a digit and a space a number."""
        return sum((each.length or each.dtype).itemsize for each in self.properties)


def read_ply(path: Path) -> RawGeometry:
    """Vertices with what is known of them, and triangles.

    Raises:
        ValueError: no PLY file, or a damaged or truncated one.
    """
    content = path.read_bytes()
    order, elements, start = _read_header(path, content)
    text = order == ""
    words = content[start:].split() if text else []
    columns: dict[str, np.ndarray] = {}
    faces: list[np.ndarray] = []
    for element in elements:
        size = len(words) if text else len(content)
        least = len(element.properties) if text else element.smallest_row
        if element.count * least > size - (0 if text else start):
            raise _damaged(path, f"{element.count} rows of {element.name} do not fit what is there (truncated?)")
        if not element.properties:
            continue
        try:
            if text:
                scalars, lists, used = _text_rows(element, words)
                words = words[used:]
            else:
                scalars, lists, start = _binary_rows(element, content, start)
        except (ValueError, OverflowError, IndexError, struct.error) as error:
            raise _damaged(path, f"in {element.name}: {error}") from None
        if element.name == "vertex":
            columns = scalars
        corners = next((lists[name] for name in CORNERS if name in lists), None)
        if corners is not None and element.name == "face":
            faces.append(fan_triangles(*corners))
        elif corners is not None and element.name == "tristrips":
            faces.append(_strip_triangles(*corners))
    triangles = np.concatenate(faces) if faces else np.empty((0, 3), np.int64)
    return from_columns(columns, path, triangles if len(triangles) else None)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path}: expected the PLY format, got a file that does not parse ({reason})")


def _read_header(path: Path, content: bytes) -> tuple[Literal["", "<", ">"], list[_Element], int]:
    end = content.find(b"end_header", 0, HEADER_BYTES)
    stop = content.find(b"\n", end) + 1
    if not content.startswith(b"ply") or end < 0 or not stop:
        raise _damaged(path, "no header from ply to end_header")
    order: Literal["", "<", ">"] | None = None
    elements: list[_Element] = []
    for line in content[:end].decode("latin-1").splitlines():
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(_Element(words[1], int(words[2])))
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append(_Property(words[4], np.dtype(TYPES[words[3]]), np.dtype(TYPES[words[2]])))
            elif words[:1] == ["property"]:
                elements[-1].properties.append(_Property(words[2], np.dtype(TYPES[words[1]]), None))
        except (KeyError, IndexError, ValueError):
            raise _damaged(path, f"header line {line[:60]!r}") from None
    if order is None or any(element.count < 0 for element in elements):
        raise _damaged(path, "no format, or a negative count")
    if any(each.length is not None and each.length.kind == "f" for element in elements for each in element.properties):
        raise _damaged(path, "a list whose length is no whole number")
    ordered = [
        _Element(
            element.name,
            element.count,
            [
                _Property(
                    each.name, each.dtype.newbyteorder(order or "="), each.length and each.length.newbyteorder(order or "=")
                )
                for each in element.properties
            ],
        )
        for element in elements
    ]
    return order, ordered, stop


def _text_rows(element: _Element, words: Sequence[bytes]) -> tuple[dict[str, np.ndarray], dict[str, Lists], int]:
    def read(place: int, dtype: np.dtype, count: int) -> tuple[list[float], int]:
        if place + count > len(words):
            raise ValueError(f"row ends after {len(words)} numbers (truncated?)")
        return [float(word) for word in words[place : place + count]], place + count

    if not any(each.length for each in element.properties):
        width = len(element.properties)
        used = element.count * width
        table = np.array(words[:used], np.float64).reshape(element.count, width)
        return {each.name: _typed(table[:, index], each) for index, each in enumerate(element.properties)}, {}, used
    return _walk(element, read, 0, len(words))


def _typed(values: np.ndarray, wanted: _Property) -> np.ndarray:
    """Numbers of a text in the type of the header, where they have it: colours stand as floats in files of some programs."""
    if wanted.dtype.kind == "f":
        return values
    cast = np.nan_to_num(values).astype(wanted.dtype)
    return cast if np.array_equal(cast, values) else values


def _binary_rows(element: _Element, content: bytes, start: int) -> tuple[dict[str, np.ndarray], dict[str, Lists], int]:
    table = _even_rows(element, content, start)
    if table is not None:
        scalars = {each.name: table[f"v{i}"] for i, each in enumerate(element.properties) if each.length is None}
        lists = {
            each.name: (table[f"n{i}"], table[f"v{i}"].reshape(-1))
            for i, each in enumerate(element.properties)
            if each.length is not None
        }
        return scalars, lists, start + table.nbytes

    def read(place: int, dtype: np.dtype, count: int) -> tuple[tuple[float, ...], int]:
        code = f"{'>' if dtype.str[0] == '>' else '<'}{count}{STRUCT[dtype.str[1:]]}"
        return struct.unpack_from(code, content, place), place + count * dtype.itemsize

    return _walk(element, read, start, len(content))


STRUCT = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f4": "f", "f8": "d"}


def _even_rows(element: _Element, content: bytes, start: int) -> np.ndarray | None:
    """All rows at once if each list has one length in all rows, else None."""
    if element.count == 0:
        return np.empty(0, [(f"v{i}", each.dtype) for i, each in enumerate(element.properties) if each.length is None])
    columns: list[tuple[str, np.dtype] | tuple[str, np.dtype, tuple[int]]] = []
    place = start
    for i, each in enumerate(element.properties):
        if each.length is None:
            columns.append((f"v{i}", each.dtype))
            place += each.dtype.itemsize
            continue
        if place + each.length.itemsize > len(content):
            return None
        count = int(np.frombuffer(content, each.length, 1, place)[0])
        place += each.length.itemsize + count * each.dtype.itemsize
        if count < 0 or place > len(content):
            return None
        columns += [(f"n{i}", each.length), (f"v{i}", each.dtype, (count,))]
    dtype = np.dtype(columns)
    if start + element.count * dtype.itemsize > len(content):
        if any(each.length is not None for each in element.properties):
            return None
        raise ValueError(f"{element.count} rows of {dtype.itemsize} bytes do not fit (truncated?)")
    table = np.frombuffer(content, dtype, element.count, start)
    even = all((table[name] == table[name][0]).all() for name in dtype.names or () if name.startswith("n"))
    return table if even else None


def _walk(
    element: _Element, read: Callable[..., tuple[Sequence[float], int]], place: int, end: int
) -> tuple[dict[str, np.ndarray], dict[str, Lists], int]:
    """Rows one by one, for lists of different lengths."""
    values: list[list[float]] = [[] for _ in element.properties]
    counts: list[list[int]] = [[] for _ in element.properties]
    for _ in range(element.count):
        for i, each in enumerate(element.properties):
            count = 1
            if each.length is not None:
                [length], place = read(place, each.length, 1)
                count = int(length)
                if not 0 <= count <= end - place:
                    raise ValueError(f"a list of {count} numbers (truncated?)")
                counts[i].append(count)
            numbers, place = read(place, each.dtype, count)
            values[i] += numbers
    flat = [np.array(numbers, each.dtype) for numbers, each in zip(values, element.properties, strict=True)]
    scalars = {each.name: flat[i] for i, each in enumerate(element.properties) if each.length is None}
    lists = {
        each.name: (np.array(counts[i], np.int64), flat[i])
        for i, each in enumerate(element.properties)
        if each.length is not None
    }
    return scalars, lists, place


def _strip_triangles(counts: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Strips, each of which -1 may end, as triangles [F, 3]; every other one is turned, and those without area are left out."""
    indices = indices.astype(np.int64)
    ends = np.concatenate([np.cumsum(counts.astype(np.int64)), np.flatnonzero(indices == -1)])
    faces = []
    for strip in np.split(indices, np.unique(ends)):
        strip = strip[strip != -1]
        if len(strip) >= 3:
            triangles = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1)
            triangles[1::2] = triangles[1::2][:, [1, 0, 2]]
            faces.append(triangles)
    if not faces:
        return np.empty((0, 3), np.int64)
    joined = np.concatenate(faces)
    a, b, c = joined.T
    return joined[(a != b) & (b != c) & (a != c)]
