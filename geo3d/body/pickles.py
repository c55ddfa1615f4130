"""Body model files: pickles of SMPL, SMPL-H, SMPL-X and MANO, read without running what is in them, and npz archives.

The published pickles hold numpy arrays, one sparse matrix of SciPy and arrays of chumpy, a package that no longer installs. Sparse matrices
and chumpy's arrays are rebuilt from their stored fields here; nothing of either package is imported and no other name is looked up.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocol 2 writes the bytes of an array
    ("builtins", "set"),
}


def read_model_file(path: str | Path) -> dict[str, Any]:
    """The fields of a body model file: arrays (sparse ones made dense), strings and numbers by name.

    Args:
        path: .pkl as published for SMPL, SMPL-H, SMPL-X and MANO, or .npz.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, is no dictionary, or asks for anything but arrays, so that reading it could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"body model: no file {path}")
    try:
        content = _read_npz(path) if zipfile.is_zipfile(path) else _read_pickle(path)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        raise ValueError(
            f"{path}: expected a body model of arrays (.pkl or .npz), got {' '.join(str(error).split()) or type(error).__name__}"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a body model, a dictionary of arrays, got {type(content).__name__}")
    return {str(name): value.array() if isinstance(value, _Stored) else value for name, value in content.items()}


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        fields = {}
        for name in archive.files:
            try:
                fields[name] = archive[name]
            except ValueError:  # SMPL-X's archives keep a few dictionaries as pickled objects, which no one needs
                continue
        return fields


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _ModelUnpickler(file, encoding="latin1").load()  # latin1: published from Python 2


class _Stored:
    """An object of a class that is not imported: its fields alone."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"fields of an array in a {type(state).__name__}")
        self.fields = state

    def array(self) -> np.ndarray:
        """The array that the fields describe.

        Raises:
            ValueError: fields of none of the known kinds.
        """
        fields = self.fields
        if "x" in fields:  # chumpy's array
            return np.asarray(_plain(fields["x"]))
        if {"a", "idxs"} <= fields.keys():  # chumpy's selection of another array's elements
            chosen = np.asarray(_plain(fields["a"])).ravel()[np.asarray(_plain(fields["idxs"])).ravel()]
            return chosen.reshape(fields["preferred_shape"]) if "preferred_shape" in fields else chosen
        if {"data", "indices", "indptr", "_shape"} <= fields.keys():
            return _dense(fields)
        raise ValueError(f"body model: an array with the unknown fields {sorted(fields)}")


class _StoredRows(_Stored):
    """A sparse matrix by rows; `_Stored` are by columns."""

    def array(self) -> np.ndarray:
        return _dense({**self.fields, "_shape": self.fields["_shape"][::-1]}).T


def _plain(value: Any) -> Any:
    return value.array() if isinstance(value, _Stored) else value


def _dense(fields: dict[str, Any]) -> np.ndarray:
    """A matrix by columns: entries indptr[c]..indptr[c + 1] are in column c, at the rows `indices`."""
    rows, columns = (int(size) for size in fields["_shape"])
    starts, indices, data = (np.asarray(fields[name]) for name in ("indptr", "indices", "data"))
    dense = np.zeros((rows, columns), data.dtype)
    np.add.at(dense, (indices, np.repeat(np.arange(columns), np.diff(starts))), data)
    return dense


def _new_object(kind: Any, base: Any = object, state: Any = None) -> _Stored:
    """In place of copyreg's function of this use: makes objects without fields of our own stand-ins, and nothing else."""
    if not (isinstance(kind, type) and issubclass(kind, _Stored)):
        raise pickle.UnpicklingError(f"an object of {kind!r}, which is refused")
    return kind()


class _ModelUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)  # their names in Python 2
        if (module, name) in ARRAYS:
            return super().find_class(module, name)
        if (module, name) == ("copyreg", "_reconstructor"):
            return _new_object
        if (module, name) == ("builtins", "object"):
            return object
        if module.split(".")[0] == "chumpy" and name in ("Ch", "Select"):
            return _Stored
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csc_array"):
            return _Stored
        if module.startswith("scipy.sparse") and name in ("csr_matrix", "csr_array"):
            return _StoredRows
        raise pickle.UnpicklingError(f"{module}.{name}, which is refused, since it could run code")
