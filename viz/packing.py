"""Parts of a layer as compact bytes and a description of them, for the viewer in the browser."""

from __future__ import annotations

from typing import Any

import numpy as np

from geo3d.viz import shading
from geo3d.viz.layers import Labels, Lines, Mesh, Points

FINE_ENOUGH = 1e-3  # a step of 16-bit positions may be so large against the spread of most of the points
CLOSED = 1.6  # times as large are points with normals, so that they look like a surface


class Block:
    """Bytes of one frame; `add` appends a part and returns where in the bytes it is.

    Args:
        origin: [3], subtracted from all positions, so that map coordinates fit into float32.
    """

    def __init__(self, origin: np.ndarray) -> None:
        self._origin = origin
        self._chunks: list[bytes] = []
        self._length = 0

    def bytes(self) -> bytes:
        """All that was added."""
        return b"".join(self._chunks)

    def add(self, part: Points | Mesh | Lines | Labels, point_size: float) -> dict[str, Any]:
        """Appends a part; `point_size` in pixels is for points that have none."""
        if isinstance(part, Points):
            order = np.random.default_rng(0).permutation(len(part.positions))  # any beginning is a thinner cloud
            normals = None if part.normals is None else {"at": self._append(_small_normals(part.normals[order]))}
            return {
                "kind": "points",
                "count": len(part.positions),
                "position": self._positions(part.positions[order]),
                "color": self._colors(part.colors[order]),
                "normal": normals,
                "size": part.size or point_size * (1 if normals is None else CLOSED),
                "grows": part.size is None,
            }
        if isinstance(part, Mesh):
            return self._mesh(part)
        if isinstance(part, Lines):
            return {
                "kind": "lines",
                "count": len(part.segments),
                "position": self._positions(part.segments.reshape(-1, 3)),
                "color": self._colors(part.colors),
                "width": part.width,
                "opacity": part.opacity,
                "hidden": part.hidden,
            }
        return {
            "kind": "labels",
            "around": np.round(part.around - self._origin, 4).tolist(),
            "texts": list(part.texts),
            "colors": part.colors.tolist(),
        }

    def _mesh(self, part: Mesh) -> dict[str, Any]:
        """Vertices with a normal each, and the faces between them."""
        vertices, normals, colors, faces = shading.shared_corners(part)
        wide = len(vertices) > 65535
        indices = faces.reshape(-1).astype(np.uint32 if wide else np.uint16)
        return {
            "kind": "mesh",
            "position": self._positions(vertices),
            "color": self._colors(colors),
            "normal": {"at": self._append(_small_normals(normals))},
            "faces": {"at": self._append(indices), "count": len(indices), "wide": wide},
            "opacity": part.opacity,
            "lit": part.lit,
        }

    def _positions(self, positions: np.ndarray) -> dict[str, Any]:
        """[N, 3] as 16-bit steps of the range they fill where that is fine enough, else as float32."""
        local = positions - self._origin
        if not len(local):
            return {"type": "f32", "at": self._append(local.astype(np.float32)), "scale": [1, 1, 1], "shift": [0, 0, 0]}
        low, extent = local.min(axis=0), np.ptp(local, axis=0)
        spread = (np.quantile(local, 0.9, axis=0) - np.quantile(local, 0.1, axis=0)).max()
        if extent.max() / 65535 > FINE_ENOUGH * spread:
            return {"type": "f32", "at": self._append(local.astype(np.float32)), "scale": [1, 1, 1], "shift": [0, 0, 0]}
        steps = np.round((local - low) / np.where(extent > 0, extent, 1) * 65535).astype(np.uint16)
        return {"type": "u16", "at": self._append(steps), "scale": extent.tolist(), "shift": low.tolist()}

    def _colors(self, colors: np.ndarray) -> dict[str, Any]:
        """[N, 3], or one colour where all are equal."""
        if not len(colors) or (colors == colors[0]).all():
            return {"one": colors[0].tolist() if len(colors) else [0, 0, 0]}
        return {"at": self._append(colors)}

    def _append(self, array: np.ndarray) -> int:
        """Where the array's bytes begin; a multiple of 4."""
        data = np.ascontiguousarray(array).tobytes()
        data += b"\0" * (-len(data) % 4)
        at = self._length
        self._chunks.append(data)
        self._length += len(data)
        return at


def _small_normals(normals: np.ndarray) -> np.ndarray:
    """[N, 3] int8, 127 for length 1."""
    length = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return np.round(normals / length * 127).astype(np.int8)
