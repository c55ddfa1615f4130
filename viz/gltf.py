"""Layers as binary glTF 2.0 (.glb): a node for each layer; points, meshes and lines with a colour for each vertex.

Written here because colours must be linear and meshes visible from both sides, which trimesh's writer does not do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geo3d.viz import shading
from geo3d.viz.camera import AXES
from geo3d.viz.colors import linear
from geo3d.viz.layers import Lines, Mesh, Part, Points

POINTS, LINES, TRIANGLES = 0, 1, 4  # modes of glTF
FLOAT, USHORT, UINT = 5126, 5123, 5125  # component types of glTF


def glb_bytes(layers: Mapping[str, Sequence[Part]], origin: np.ndarray, turn: np.ndarray) -> bytes:
    """The file as bytes.

    Args:
        layers: name and parts of each; texts and pictures are left out.
        origin: [3], subtracted from all positions: float32 must hold them.
        turn: [3, 3], applied after that.
    """
    file = _File()
    for name, parts in layers.items():
        primitives = [primitive for part in parts for primitive in _primitives(file, part, origin, turn)]
        if primitives:
            file.nodes.append({"name": name, "mesh": len(file.meshes)})
            file.meshes.append({"name": name, "primitives": primitives})
    return file.packed()


def to_y_up(up: str) -> np.ndarray:
    """[3, 3] rotation that turns the up axis to +y, as glTF demands, the short way; half a turn about x for -y."""
    axis, target = AXES[up], AXES["y"]
    if axis @ target < -0.5:
        return np.diag([1.0, -1.0, -1.0])
    about = np.cross(axis, target)
    cross = np.array([[0, -about[2], about[1]], [about[2], 0, -about[0]], [-about[1], about[0], 0]])
    turn: np.ndarray = np.eye(3) + cross + cross @ cross / (1 + axis @ target)
    return turn


class _File:
    """The lists of a glTF file, and its bytes."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.meshes: list[dict[str, Any]] = []
        self.materials: list[dict[str, Any]] = []
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._bytes = bytearray()

    def accessor(self, array: np.ndarray, kind: str, component: int, **more: Any) -> int:
        """Appends an array and returns the number of its accessor."""
        self._views.append({"buffer": 0, "byteOffset": len(self._bytes), "byteLength": array.nbytes})
        self._bytes += array.tobytes() + b"\0" * (-array.nbytes % 4)
        view = len(self._views) - 1
        self._accessors.append({"bufferView": view, "componentType": component, "count": len(array), "type": kind, **more})
        return len(self._accessors) - 1

    def material(self, *, lit: bool, opacity: float) -> int:
        """The number of a material that shows vertex colours from both sides."""
        material: dict[str, Any] = {"doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 0.8}}
        if opacity < 1:
            material["alphaMode"] = "BLEND"
        if not lit:
            material["extensions"] = {"KHR_materials_unlit": {}}
        if material not in self.materials:
            self.materials.append(material)
        return self.materials.index(material)

    def packed(self) -> bytes:
        """The file: a header, the JSON, the bytes."""
        tree = {
            "asset": {"version": "2.0", "generator": "geo3d"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self.nodes)))}],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "materials": self.materials,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._bytes)}],
        }
        text = json.dumps(tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = len(text).to_bytes(4, "little") + b"JSON" + text
        chunks += len(self._bytes).to_bytes(4, "little") + b"BIN\0" + self._bytes
        return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks


def _primitives(file: _File, part: Part, origin: np.ndarray, turn: np.ndarray) -> list[dict[str, Any]]:
    """glTF's primitives of a part, one or none."""
    if isinstance(part, Points):
        attributes = _attributes(file, (part.positions - origin) @ turn.T, part.colors, 1.0)
        return [{"mode": POINTS, "attributes": attributes, "material": file.material(lit=False, opacity=1.0)}]
    if isinstance(part, Lines) and len(part.segments):
        ends = (part.segments.reshape(-1, 3) - origin) @ turn.T
        attributes = _attributes(file, ends, np.repeat(part.colors, 2, axis=0), part.opacity)
        return [{"mode": LINES, "attributes": attributes, "material": file.material(lit=False, opacity=part.opacity)}]
    if isinstance(part, Mesh):
        vertices, normals, colors, faces = shading.shared_corners(part)
        attributes = _attributes(file, (vertices - origin) @ turn.T, colors, part.opacity)
        attributes["NORMAL"] = file.accessor((normals @ turn.T).astype("<f4"), "VEC3", FLOAT)
        indices = file.accessor(faces.reshape(-1).astype("<u4"), "SCALAR", UINT)
        material = file.material(lit=part.lit, opacity=part.opacity)
        return [{"mode": TRIANGLES, "attributes": attributes, "indices": indices, "material": material}]
    return []


def _attributes(file: _File, places: np.ndarray, colors: np.ndarray, opacity: float) -> dict[str, int]:
    positions = places.astype("<f4")
    bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    rgba = np.concatenate([linear(colors), np.full((len(colors), 1), opacity)], axis=1)
    return {
        "POSITION": file.accessor(positions, "VEC3", FLOAT, **bounds),
        "COLOR_0": file.accessor(np.round(rgba * 65535).astype("<u2"), "VEC4", USHORT, normalized=True),
    }
