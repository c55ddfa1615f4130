"""Arrays that are slow to make from source files, kept in a .npz file and made again when a source file changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

FINGERPRINT = "fingerprint"


def cache_folder() -> Path:
    """Where geo3d keeps generated data and caches: the environment variable GEO3D_DATA, or ~/.cache/geo3d."""
    return Path(os.environ.get("GEO3D_DATA") or Path.home() / ".cache" / "geo3d")


def cached_arrays(
    folder: Path, name: str, sources: Sequence[Path], parameters: object, make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays from `<folder>/<name>.npz`, or from `make()`, which is then stored there.

    The stored arrays count only for the same parameters and the same list of files with the same sizes and modification times. A
    folder that cannot be written to is replaced by one in `cache_folder()`; where neither can be written the arrays are returned
    all the same. Files are written under another name first and then renamed, so that a reader never sees half a file.

    Args:
        folder: usually the folder of the data.
        name: of the file, without suffix.
        sources: the files that `make` reads.
        parameters: anything whose `repr` says what `make` does with them.
        make: returns the arrays; none may be named "fingerprint".

    Raises:
        FileNotFoundError: a source is missing.
    """
    fingerprint = _fingerprint(sources, parameters)
    places = [folder / f"{name}.npz", _replacement(folder) / f"{name}.npz"]
    for path in places:
        arrays = _stored(path, fingerprint)
        if arrays is not None:
            return arrays
    arrays = make()
    for path in places:
        if _store(path, {**arrays, FINGERPRINT: np.array(fingerprint)}):
            break
    return arrays


def _replacement(folder: Path) -> Path:
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return cache_folder() / "arrays" / f"{folder.resolve().name}-{digest}"


def _fingerprint(sources: Sequence[Path], parameters: object) -> str:
    digest = hashlib.sha256(repr(parameters).encode())
    for path in sources:
        state = os.stat(path)
        digest.update(f"\n{path.name}\t{path.parent.name}\t{state.st_size}\t{state.st_mtime_ns}".encode())
    return digest.hexdigest()


def _stored(path: Path, fingerprint: str) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if FINGERPRINT not in file or str(file[FINGERPRINT]) != fingerprint:
                return None
            return {key: file[key] for key in file.files if key != FINGERPRINT}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # missing, cut off or not ours: make it again
        return None


def _store(path: Path, arrays: dict[str, np.ndarray]) -> bool:
    """Write and rename; False where the folder cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.chmod(temporary, 0o644)  # others who share the data read it too
        os.replace(temporary, path)
        return True
    except OSError:  # no space left
        return False
    finally:
        Path(temporary).unlink(missing_ok=True)
