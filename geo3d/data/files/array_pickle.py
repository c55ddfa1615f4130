"""Pickle files that hold numpy arrays in lists and tuples, and nothing that could run code.

Nothing of numpy is built by what the file says: stand-ins take the arguments, and arrays are made of them once kind, shape and size
have been checked against the bytes that are there. (numpy's own dtype takes a state, which may hold addresses.)
"""

from __future__ import annotations

import codecs
import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

DTYPE = re.compile(r"[<>|=]?(?:[biuf][1248]|[SU]\d{1,6})")
MAX_DIMENSIONS = 32
MAX_BYTES = 10  # times the file that arrays joined from it may take
DEEPEST = 50  # lists in lists


def _refuse(what: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"{what}, which is refused")


class _Dtype:
    """Stand-in of a dtype: a kind and a size, and of its state the byte order alone."""

    def __init__(self, spec: Any, *flags: Any) -> None:
        if not isinstance(spec, str) or not DTYPE.fullmatch(spec):
            raise _refuse(f"dtype {str(spec)[:40]!r}")
        self.dtype = np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        plain = isinstance(state, tuple) and len(state) in (8, 9) and state[2:5] == (None, None, None)
        if not plain or state[1] not in ("<", ">", "|", "="):
            raise _refuse("a dtype with a state of its own")
        if state[1] in "<>":
            self.dtype = self.dtype.newbyteorder(state[1])
        if self.dtype.kind in "SU" and state[5] not in (-1, self.dtype.itemsize):
            if not isinstance(state[5], int) or not 0 <= state[5] < 1 << 20:
                raise _refuse(f"text of size {state[5]}")
            kind = self.dtype.kind
            self.dtype = np.dtype(f"{kind}{state[5] // (4 if kind == 'U' else 1)}").newbyteorder(self.dtype.byteorder)


class _Array:
    """Stand-in of an array that gets its content later."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _refuse("an array with a state of its own")
        _, shape, dtype, fortran, content = state
        self.array = _array(content, dtype, shape, "F" if fortran else "C")


class _Kind:
    """Stand-in of a type that stands in a file as an argument alone."""


def _array(content: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray | pickle.PickleBuffer):
        raise _refuse("an array of something other than numbers")
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise _refuse(f"an array of shape {str(shape)[:40]}")
    size = memoryview(content).nbytes
    if math.prod(shape) * dtype.dtype.itemsize != size:
        raise _refuse(f"an array {list(shape)} of {dtype.dtype} in {size} bytes")
    if order not in ("C", "F"):
        raise _refuse("an array of unknown order")
    if dtype.dtype.itemsize == 0:
        return np.zeros(shape, dtype.dtype) if math.prod(shape) < 1 << 20 else np.zeros(0, dtype.dtype)
    return np.frombuffer(bytes(content), dtype.dtype).reshape(shape, order=order).copy()


def _reconstruct(*arguments: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, content: Any = b"") -> Any:
    return _array(content, dtype, ())[()]


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise _refuse("an encoding other than latin1")
    return codecs.encode(text, "latin1")


def _no_bytes() -> bytes:
    return b""  # how protocols before 3 write the content of an empty array


STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Kind,
    ("numpy", "dtype"): _Dtype,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
    ("_codecs", "encode"): _encode,  # how protocol 2 writes the bytes of an array
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
}


class _ArrayUnpickler(pickle._Unpickler):  # the one in Python: that in C reserves what indices claim
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"{module}.{name}, which is refused")
        return STAND_INS[module, name]


def read_array_pickle(path: Path) -> Any:
    """Content of a pickle file of numpy arrays of numbers or text, numbers, strings, lists, tuples and dictionaries.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds anything else, or is no pickle.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    try:
        return _built(_ArrayUnpickler(io.BytesIO(path.read_bytes())).load(), {}, 0)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: expected a pickle of numpy arrays and lists, got {reason}") from None


def _built(value: Any, done: dict[int, Any], depth: int) -> Any:
    """The value with arrays in the place of stand-ins; what occurs twice is built once."""
    if id(value) in done:
        return done[id(value)]
    if depth > DEEPEST:
        raise _refuse("lists in lists without end")
    if isinstance(value, _Array):
        if value.array is None:
            raise _refuse("an array without content")
        return value.array
    if isinstance(value, list):
        done[id(value)] = value
        value[:] = [_built(each, done, depth + 1) for each in value]
    elif isinstance(value, tuple):
        built = tuple(_built(each, done, depth + 1) for each in value)
        done[id(value)] = built
        return built
    elif isinstance(value, dict):
        done[id(value)] = value
        for key in list(value):
            value[key] = _built(value[key], done, depth + 1)
    elif not isinstance(value, np.ndarray | np.generic | str | bytes | bool | int | float | None):
        raise _refuse(f"a {type(value).__name__.strip('_').lower()}")
    return value


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
    clouds, labels = content
    wanted = f"{path}: expected clouds of one size and one label each, got"
    if not isinstance(clouds, list | tuple | np.ndarray) or not isinstance(labels, list | tuple | np.ndarray):
        raise ValueError(f"{wanted} {type(clouds).__name__} and {type(labels).__name__}")
    if len(clouds) != len(labels) or not len(clouds):
        raise ValueError(f"{wanted} {len(clouds)} clouds and {len(labels)} labels")
    for number, cloud in enumerate(clouds):
        if not isinstance(cloud, np.ndarray) or cloud.dtype.kind not in "fiu" or cloud.shape != (num_points, 6):
            shape = f"{list(cloud.shape)} {cloud.dtype}" if isinstance(cloud, np.ndarray) else type(cloud).__name__
            raise ValueError(f"{wanted} {shape}, not [{num_points}, 6], for cloud {number}")
    if len(clouds) * num_points * 24 > MAX_BYTES * path.stat().st_size:  # one array, named again and again
        raise ValueError(f"{wanted} {len(clouds)} clouds in {path.stat().st_size} bytes")
    try:
        points = np.stack([np.asarray(cloud, dtype=np.float32) for cloud in clouds])
        numbers = np.asarray([np.asarray(label).reshape(()) for label in labels]).astype(np.int64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{wanted} {error}") from None
    if not np.isfinite(points).all():
        raise ValueError(
            f"{path}: expected finite points, got a value that is not in cloud {np.argwhere(~np.isfinite(points))[0][0]}"
        )
    return points, numbers
