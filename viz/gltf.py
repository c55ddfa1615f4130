"""A scene for other programs: .glb (points, meshes and lines, a node for each layer) and .ply (all as one)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geo3d.viz.camera import AXES
from geo3d.viz.layers import Layer, Lines, Mesh, Points, parts_of

if TYPE_CHECKING:
    from geo3d.viz.scene import Scene

MODEL_SUFFIXES = (".glb", ".ply")


def write_model(path: Path, scene: Scene) -> Path:
    """Writes the visible points, meshes and lines; texts and images are left out.

    Raises:
        ValueError: nothing that such a file holds.
    """
    scene.check_content()
    parts = [part for kind in (Points, Mesh, Lines) for part in parts_of(list(scene.layers.values()), kind)]
    if not any(len(part.colors) for part in parts):
        raise ValueError(f"{path}: the scene has no points, meshes or lines, which are all that {path.suffix} holds")
    if path.suffix.lower() == ".ply":
        _write_ply(path, parts)
    else:
        path.write_bytes(_glb(scene))
    return path


def _glb(scene: Scene) -> bytes:
    """Binary glTF with +y up, as glTF demands; vertex colours."""
    import trimesh

    turn = np.eye(4)
    turn[:3, :3] = _to_y_up(AXES[scene.up])
    world = trimesh.Scene()
    for name, layer in scene.layers.items():
        for index, geometry in enumerate(_geometries(layer)):
            node = name if index == 0 else f"{name}_{index}"
            world.add_geometry(geometry, node_name=node, geom_name=node, transform=turn)
    data: bytes = world.export(file_type="glb")
    return data


def _geometries(layer: Layer) -> list[Any]:
    """Trimesh's geometries of a visible layer."""
    import trimesh

    if not layer.visible:
        return []
    geometries: list[Any] = []
    for part in layer.parts:
        if isinstance(part, Points):
            geometries.append(trimesh.PointCloud(part.positions, colors=_rgba(part.colors, 1.0)))
        elif isinstance(part, Mesh):
            mesh = trimesh.Trimesh(part.vertices, part.faces, vertex_colors=_rgba(part.colors, part.opacity), process=False)
            geometries.append(mesh)
        elif isinstance(part, Lines) and len(part.segments):
            entities = [trimesh.path.entities.Line([2 * k, 2 * k + 1]) for k in range(len(part.segments))]
            colors = _rgba(part.colors, part.opacity)
            geometries.append(trimesh.path.Path3D(entities, part.segments.reshape(-1, 3), colors=colors, process=False))
    return geometries


def _rgba(colors: np.ndarray, opacity: float) -> np.ndarray:
    alpha = np.full((len(colors), 1), round(255 * opacity), dtype=np.uint8)
    return np.concatenate([colors, alpha], axis=1)


def _to_y_up(up: np.ndarray) -> np.ndarray:
    """[3, 3] rotation that turns the up axis to +y the short way; half a turn about x for -y."""
    target = AXES["y"]
    if up @ target < -0.5:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(up, target)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn: np.ndarray = np.eye(3) + cross + cross @ cross / (1 + up @ target)
    return turn


def _write_ply(path: Path, parts: Sequence[Points | Mesh | Lines]) -> None:
    """Binary PLY: vertices with colours, faces, and edges where there are lines; float64 positions keep map coordinates."""
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
    header = ["ply", "format binary_little_endian 1.0", "comment geo3d", f"element vertex {len(vertex)}"]
    header += [f"property double {axis}" for axis in "xyz"] + [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"element face {len(face)}", "property list uchar int vertex_indices"] if len(face) else []
    edge = np.concatenate([*edges, np.empty((0, 2), np.int64)]).astype("<i4")
    header += [f"element edge {len(edge)}", "property int vertex1", "property int vertex2"] if len(edge) else []
    with open(path, "wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        for block in (vertex, face, edge):
            file.write(block.tobytes())
