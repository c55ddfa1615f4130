"""Readers of mesh files (PLY, OBJ, OFF, STL, glTF) through trimesh; PLY may also hold plain points."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.files.point_files import RawGeometry, as_uint8_colors

INTENSITY_NAMES = ("intensity", "scalar_intensity", "scalar_Intensity", "reflectance", "reflectivity")


def read_mesh(path: Path) -> RawGeometry:
    """Vertices and faces of a mesh file, scenes joined into one mesh, or points where the file has no faces.

    Polygons are split into triangles; texture images are not read. STL repeats each corner, which is merged.

    Raises:
        ValueError: damaged, or not a file of the kind that its suffix says.
    """
    import trimesh

    kind = path.suffix.lower()[1:]
    try:
        loaded: Any = trimesh.load(_off_text(path) if kind == "off" else path, file_type=kind, process=False)
        if isinstance(loaded, trimesh.Scene):
            parts = [part for part in loaded.dump() if isinstance(part, (trimesh.Trimesh, trimesh.PointCloud))]
            meshes = [part for part in parts if isinstance(part, trimesh.Trimesh)]
            loaded = trimesh.util.concatenate(meshes) if meshes else (parts[0] if parts else trimesh.PointCloud([]))
        if kind == "stl":
            loaded.merge_vertices()
        vertices, faces = np.asarray(loaded.vertices), np.asarray(getattr(loaded, "faces", np.empty((0, 3))))
    except Exception as error:  # trimesh's parsers raise whatever the damage leads to
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"{path}: expected the {kind.upper()} format, got a file that does not parse ({reason})") from None
    vertices = vertices.reshape(-1, 3)
    raw = loaded.metadata.get("_ply_raw", {}).get("vertex", {}).get("data") if kind == "ply" else None
    normals = _ply_columns(raw, ("nx", "ny", "nz"), len(vertices))
    intensity = next(
        (column[:, 0] for name in INTENSITY_NAMES if (column := _ply_columns(raw, (name,), len(vertices))) is not None), None
    )
    return RawGeometry(vertices, normals, _vertex_colors(loaded, len(vertices), path), intensity, faces if len(faces) else None)


def _off_text(path: Path) -> io.StringIO:
    """The text of an OFF file, with the counts on a line of their own where they are glued to the first word."""
    text = path.read_text(encoding="utf-8", errors="strict")
    return io.StringIO(re.sub(r"\A(\s*[A-Z]*OFF)[ \t]*(?=\d)", r"\1\n", text))


def _ply_columns(data: Any, names: tuple[str, ...], count: int) -> np.ndarray | None:
    """Vertex properties of a PLY file as [count, len(names)], None where the file has not all of them."""
    available = data.dtype.names or () if isinstance(data, np.ndarray) else (data or {})
    if not set(names) <= set(available):
        return None
    columns = np.stack([np.asarray(data[name]).reshape(-1) for name in names], axis=1)
    return columns if len(columns) == count else None


def _vertex_colors(loaded: Any, count: int, path: Path) -> np.ndarray | None:
    """Colour of each vertex where the file gives them, else None."""
    visual = getattr(loaded, "visual", None)
    if visual is None or visual.kind != "vertex":
        return None
    colors = np.asarray(visual.vertex_colors)
    return as_uint8_colors(colors, path) if colors.shape[:1] == (count,) else None
