"""Readers of NumPy's files: headers are checked against the file before memory is asked for, and nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

KINDS = "biuf"  # numbers and truth values
MAX_GROWTH = 10  # times the file that its arrays may take when unpacked, and
ALWAYS_FITS = 1 << 27  # bytes that they may take in any case


def load_npy(path: Path) -> np.ndarray:
    """The array of numbers in a `.npy` file.

    Raises:
        ValueError: a damaged or truncated file, or one of objects or text.
    """
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise _refused(path, "an archive (.npz)")
        file.seek(0)
        return _read_array(file, path, path.stat().st_size, "")


def load_npz(path: Path, wanted: Collection[str] | None = None) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays of numbers in a `.npz` file.

    Args:
        path: the file.
        wanted: names to read; the only array of a file is read whatever its name. All by default.

    Returns:
        The arrays by name, and the names of all arrays of the file.

    Raises:
        ValueError: a damaged file, one that unpacks to far more than its size, or arrays of objects or text.
    """
    size = path.stat().st_size
    room = MAX_GROWTH * size + ALWAYS_FITS
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            chosen = [name for name in entries if wanted is None or name in wanted or len(entries) == 1]
            total = sum(entries[name].file_size for name in chosen)
            if total > room:
                raise _refused(path, f"arrays of {total} bytes in {size} bytes")
            arrays = {}
            for name in chosen:
                with archive.open(entries[name]) as file:
                    arrays[name] = _read_array(file, path, entries[name].file_size, f" in {name}")
                    file.read()  # to the end, where the checksum is compared
            return arrays, list(entries)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, KeyError) as error:
        raise _refused(path, (str(error).splitlines() or [""])[0] or type(error).__name__) from None


def _refused(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path}: expected a NumPy file of numbers, got {reason}")


def _read_array(file: IO[bytes], path: Path, size: int, where: str) -> np.ndarray:
    """An array of a stream of `size` bytes."""
    try:
        version = np.lib.format.read_magic(file)
        head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = head(file)
    except Exception as error:  # the header is parsed as Python, which raises whatever the damage leads to
        raise _refused(path, f"{(str(error).splitlines() or ['a damaged header'])[0]}{where}") from None
    if dtype.kind not in KINDS or dtype.names or dtype.shape:
        raise _refused(path, f"an array of {dtype}{where}")
    count = math.prod(shape)
    if len(shape) > 32 or count < 0 or min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise _refused(path, f"an array {list(shape)[:8]} of {dtype} in {size} bytes{where}")
    content = file.read(count * dtype.itemsize)
    if len(content) != count * dtype.itemsize:
        raise _refused(path, f"{len(content)} of {count * dtype.itemsize} bytes{where} (truncated?)")
    array = np.frombuffer(bytearray(content), dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
