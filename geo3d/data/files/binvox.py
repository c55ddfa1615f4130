"""Voxel grids in the binvox format (Patrick Min), in which ShapeNet's voxels come.

#binvox 1
dim 32 32 32                 cells along x, z, y
translate -0.18 -0.43 -0.18  lowest corner, in the units of the mesh that was voxelised
scale 0.87                   length of the grid's longest side
data                         then pairs of bytes (0 or 1, how often), y fastest, then z, then x

grid = read_binvox("model.binvox")
grid.voxels  # [D, H, W] bool, indexed z, y, x; y is up
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAX_RUN = 255  # of equal voxels in one pair of bytes
MAX_CELLS = 1 << 30  # 1024 along each side, the most that binvox makes
DATA_LINE = re.compile(rb"\r?\ndata[ \t]*\r?\n")


@dataclass(frozen=True, eq=False)
class BinvoxGrid:
    """A voxel grid as a file holds it.

    Attributes:
        voxels: [D, H, W] bool, True where full, indexed z, y, x. In ShapeNet y is up.
        translate: [3] float64 x y z of the lowest corner. ShapeNet's renderings do not go with it: there the middle of the grid
            is the origin.
        scale: length of the grid's longest side.
    """

    voxels: np.ndarray
    translate: np.ndarray
    scale: float

    @property
    def voxel_size(self) -> float:
        """Length of a voxel's side."""
        return self.scale / max(self.voxels.shape)


def read_binvox(path: str | Path) -> BinvoxGrid:
    """Reads a .binvox file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format, or a damaged or truncated file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    content = path.read_bytes()
    size, translate, scale, start = _read_header(path, content)
    pairs = np.frombuffer(content, np.uint8, offset=start)
    if len(pairs) % 2:
        raise ValueError(f"{path}: expected pairs of bytes after the header, got {len(pairs)} bytes (truncated?)")
    values, counts = pairs[::2], pairs[1::2].astype(np.int64)
    if values.max(initial=0) > 1:
        raise ValueError(f"{path}: expected voxels of 0 or 1, got {values.max()}")
    wanted = size[0] * size[1] * size[2]
    if counts.sum() != wanted:
        raise ValueError(f"{path}: expected {wanted} voxels as dim says, got {counts.sum()} (truncated?)")
    voxels = np.repeat(values.astype(bool), counts).reshape(size)  # x, z, y
    return BinvoxGrid(np.ascontiguousarray(voxels.transpose(1, 2, 0)), translate, scale)


def write_binvox(path: str | Path, voxels: Any, *, translate: Any = (0.0, 0.0, 0.0), scale: float = 1.0) -> Path:
    """Writes a .binvox file; its folder must exist, a file that is there is replaced.

    Args:
        path: the file.
        voxels: [D, H, W] bool, indexed z, y, x.
        translate, scale: as in `BinvoxGrid`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: voxels of another shape or dtype, or a scale that is not positive.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}")
    grid = np.asarray(voxels)
    if grid.ndim != 3 or grid.dtype != bool or 0 in grid.shape:
        raise ValueError(f"write_binvox: voxels must be [D, H, W] bool, got {list(grid.shape)} {grid.dtype}")
    if not scale > 0:
        raise ValueError(f"write_binvox: scale must be positive, got {scale}")
    x, y, z = (float(value) for value in translate)
    stored = grid.transpose(2, 0, 1)
    header = f"#binvox 1\ndim {' '.join(map(str, stored.shape))}\ntranslate {x:g} {y:g} {z:g}\nscale {scale:g}\ndata\n"
    path.write_bytes(header.encode("ascii") + _run_lengths(stored.reshape(-1)).tobytes())
    return path


def _read_header(path: Path, content: bytes) -> tuple[tuple[int, ...], np.ndarray, float, int]:
    """Cells along x, z, y; translate [3]; scale; and where the voxels begin."""
    if not content.startswith(b"#binvox"):
        raise ValueError(f"{path}: expected a file that starts with #binvox, got {content[:16]!r}")
    found = DATA_LINE.search(content)
    if found is None:
        raise ValueError(f"{path}: expected a line 'data' after the header, got none")
    lines = [line.partition("#")[0].split() for line in content[: found.start()].decode("latin-1").splitlines()]
    entries = {words[0]: words[1:] for words in lines if words}
    try:
        size = tuple(int(word) for word in entries["dim"])
        translate = np.array([float(word) for word in entries.get("translate", ["0", "0", "0"])])
        [scale] = [float(word) for word in entries.get("scale", ["1"])]
    except (KeyError, ValueError):
        raise ValueError(f"{path}: expected lines dim, translate and scale of 3, 3 and 1 numbers in the header") from None
    if len(size) != 3 or min(size) < 1 or np.prod(size, dtype=np.float64) > MAX_CELLS:
        raise ValueError(f"{path}: expected dim of three positive numbers, got {' '.join(entries['dim'])}")
    if translate.shape != (3,) or not np.isfinite(translate).all() or not 0 < scale < np.inf:
        raise ValueError(f"{path}: expected translate of three numbers and a positive scale, got {translate} and {scale}")
    return size, translate, scale, found.end()


def _run_lengths(flat: np.ndarray) -> np.ndarray:
    """Pairs (value, count) of uint8, one after the other; long runs take several."""
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, len(flat)))
    pieces = -(-lengths // MAX_RUN)
    counts = np.full(pieces.sum(), MAX_RUN)
    counts[np.cumsum(pieces) - 1] = lengths - MAX_RUN * (pieces - 1)
    return np.stack([np.repeat(flat[starts], pieces), counts], axis=1).astype(np.uint8)
