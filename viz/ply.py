"""Points, meshes and lines as one binary PLY file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geo3d.viz.layers import Lines, Mesh, Points


def write_ply(path: Path, parts: Sequence[Points | Mesh | Lines]) -> Path:
    """Writes vertices with colours, faces, and edges where there are lines; float64 positions keep map coordinates."""
    vertices, colors, faces, edges, start = [], [], [], [], 0
    for part in parts:
        if isinstance(part, Points):
            places, rgb = part.positions, part.colors
        elif isinstance(part, Mesh):
            places, rgb = part.vertices, part.colors
            faces.append(part.faces + start)
        else:
            places, rgb = part.segments.reshape(-1, 3), np.repeat(part.colors, 2, axis=0)
            edges.append(start + np.arange(len(places)).reshape(-1, 2))
        vertices.append(places)
        colors.append(rgb)
        start += len(places)
    vertex = np.empty(start, dtype=[("xyz", "<f8", 3), ("rgb", "u1", 3)])
    vertex["xyz"], vertex["rgb"] = np.concatenate(vertices), np.concatenate(colors)
    corners = np.concatenate([*faces, np.empty((0, 3), np.int64)])
    face = np.empty(len(corners), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, corners
    edge = np.concatenate([*edges, np.empty((0, 2), np.int64)]).astype("<i4")
    header = ["ply", "format binary_little_endian 1.0", "comment geo3d", f"element vertex {len(vertex)}"]
    header += [f"property double {axis}" for axis in "xyz"] + [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"element face {len(face)}", "property list uchar int vertex_indices"] if len(face) else []
    header += [f"element edge {len(edge)}", "property int vertex1", "property int vertex2"] if len(edge) else []
    with open(path, "wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        for block in (vertex, face, edge):
            file.write(block.tobytes())
    return path
