"""Readers of mesh files through trimesh: OBJ, STL and glTF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.files.raw import RawGeometry, as_uint8_colors

COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
TYPE_NUMBERS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
NO_COLORS = np.array([102, 102, 102])  # what trimesh gives to vertices without colours


def read_mesh(path: Path) -> RawGeometry:
    """Vertices and faces of a mesh file, and points of its clouds, scenes joined with their transforms.

    Polygons are split into triangles; texture images are not read. STL repeats each corner, which is merged.

    Raises:
        ValueError: damaged, or not a file of the kind that its suffix says.
    """
    import trimesh

    kind = path.suffix.lower()[1:]
    if kind in ("glb", "gltf"):
        _check_accessors(path, kind)
    if kind == "stl":
        _check_stl(path)
    try:
        loaded: Any = trimesh.load(path, file_type=kind, process=False)
        dumped: list[Any] = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
        parts: list[Any] = [part for part in dumped if isinstance(part, trimesh.Trimesh | trimesh.PointCloud)]
        if kind == "stl":
            for part in parts:
                part.merge_vertices()
        vertices = [np.asarray(part.vertices, dtype=np.float64).reshape(-1, 3) for part in parts]
        corners = [np.asarray(getattr(part, "faces", np.empty((0, 3))), dtype=np.int64).reshape(-1, 3) for part in parts]
    except Exception as error:  # trimesh's parsers raise whatever the damage leads to
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise _damaged(path, reason) from None
    starts = np.cumsum([0, *(len(each) for each in vertices)])[:-1]
    faces = [each + start for each, start in zip(corners, starts, strict=True)]
    colors = [_vertex_colors(part, len(each), path) for part, each in zip(parts, vertices, strict=True)]
    known = any(each is not None for each in colors)
    joined = [np.tile(NO_COLORS, (len(v), 1)) if c is None else c for c, v in zip(colors, vertices, strict=True)]
    triangles = np.concatenate(faces) if faces else np.empty((0, 3), np.int64)
    return RawGeometry(
        np.concatenate(vertices) if vertices else np.empty((0, 3)),
        colors=np.concatenate(joined).astype(np.uint8) if known else None,
        faces=triangles if len(triangles) else None,
    )


def _damaged(path: Path, reason: str) -> ValueError:
    kind = path.suffix[1:].upper()
    return ValueError(f"{path}: expected the {kind} format, got a file that does not parse ({reason})")


def _check_accessors(path: Path, kind: str) -> None:
    """Raises ValueError where arrays of a glTF file claim more than its buffers have: trimesh would make them of zeros."""
    content = path.read_bytes()
    try:
        if kind == "glb":
            length = int.from_bytes(content[12:16], "little")
            if content[:4] != b"glTF" or length > len(content) - 20:
                raise ValueError("no header of glTF")
            content = content[20 : 20 + length]
        tree = json.loads(content)
        views = tree.get("bufferViews", [])
        for number, accessor in enumerate(tree.get("accessors", [])):
            size = accessor["count"] * COMPONENT_BYTES[accessor["componentType"]] * TYPE_NUMBERS[accessor["type"]]
            room = views[accessor["bufferView"]]["byteLength"] if "bufferView" in accessor else None
            if room is None and "sparse" not in accessor and _is_compressed(tree):
                continue
            if accessor["count"] < 0 or size > (path.stat().st_size * 10 if room is None else room):
                raise ValueError(f"accessor {number} claims {size} bytes")
        if any(view["byteLength"] > tree["buffers"][view["buffer"]]["byteLength"] for view in views):
            raise ValueError("a view larger than its buffer")
        inside = sum(buffer["byteLength"] for buffer in tree.get("buffers", []) if "uri" not in buffer)
        if kind == "glb" and inside > path.stat().st_size:
            raise ValueError("a buffer larger than the file (truncated?)")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise _damaged(path, (str(error).splitlines() or [type(error).__name__])[0]) from None


def _is_compressed(tree: dict[str, Any]) -> bool:
    return any("draco" in str(name) or "meshopt" in str(name) for name in tree.get("extensionsUsed", []))


def _check_stl(path: Path) -> None:
    """Raises ValueError where a binary STL file has fewer triangles than it says."""
    with path.open("rb") as file:
        head = file.read(84)
    if head.lstrip()[:5].lower() == b"solid":
        return
    count = int.from_bytes(head[80:84], "little")
    if len(head) < 84 or 84 + 50 * count > path.stat().st_size:
        raise _damaged(path, f"{count} triangles in {path.stat().st_size} bytes (truncated?)")


def _vertex_colors(part: Any, count: int, path: Path) -> np.ndarray | None:
    """Colour of each vertex where the file gives them, else None."""
    visual = getattr(part, "visual", None)
    if visual is not None and visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors)
    elif visual is None and getattr(part, "colors", None) is not None:  # a cloud
        colors = np.asarray(part.colors)
    else:
        return None
    return as_uint8_colors(colors, path) if colors.shape[:1] == (count,) else None
