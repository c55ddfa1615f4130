"""A desktop window, opened by Open3D in a process of its own.

Open3D aborts the whole process where there is no graphics driver; in its own process that becomes an error of one line.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from geo3d.viz.raycast import explain_import_error


@dataclass(frozen=True)
class Part:
    """vertices [V, 3] float32, colors [V, 3] uint8, normals [V, 3] float32 or None, faces [F, 3] int or None for points."""

    name: str
    vertices: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None
    faces: np.ndarray | None
    point_size: float


@dataclass(frozen=True)
class Window:
    """What to show, and from where; colours of the background are 0..1."""

    parts: tuple[Part, ...]
    title: str
    size: tuple[int, int]
    background: tuple[float, float, float]
    eye: np.ndarray
    target: np.ndarray
    up: np.ndarray


def show_window(window: Window) -> None:
    """Shows a window and waits until it is closed.

    Raises:
        RuntimeError: no display, or Open3D cannot open a window; the message says what is missing.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RuntimeError(
            "no display to open a window on (DISPLAY is not set); save a picture instead: scene.save('picture.png')"
        )
    code = f"import sys; sys.path[:] = {sys.path!r}; from geo3d.viz.window import main; main()"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(window), capture_output=True)
    if done.returncode:
        raise RuntimeError(explain_failure(done.returncode, done.stderr.decode(errors="replace")))


def explain_failure(code: int, log: str) -> str:
    """One line for a window process that ended with an error, from what it wrote."""
    if "Vulkan" in log and ("createVkInstance" in log or "IncompatibleDriver" in log or "libvulkan" in log):
        return "Open3D found no Vulkan driver to open a window with; apt-get install libvulkan1 mesa-vulkan-drivers"
    if "GLFW" in log and "failed" in log:
        return "Open3D could not open a window on this display; save a picture instead: scene.save('picture.png')"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"Open3D's window ended with code {code}: {lines[-1] if lines else 'no message'}"


def main() -> None:
    """The window's process: reads a pickled Window from standard input."""
    window: Window = pickle.load(sys.stdin.buffer)
    try:
        from open3d.visualization import draw
    except ImportError as error:
        sys.exit(explain_import_error(error))
    draw(
        [{"name": part.name, "geometry": _geometry(part), "material": _material(part)} for part in window.parts],
        title=window.title,
        width=window.size[0],
        height=window.size[1],
        bg_color=(*window.background, 1.0),
        eye=window.eye,
        lookat=window.target,
        up=window.up,
        field_of_view=30.0,
        show_skybox=False,
    )
    sys.stdout.flush()
    os._exit(0)  # Open3D's own shutdown can abort


def _geometry(part: Part) -> Any:
    """The part as Open3D's point cloud or triangle mesh."""
    from open3d import geometry, utility

    def vectors(values: np.ndarray) -> Any:
        return utility.Vector3dVector(values.astype(np.float64))

    if part.faces is None:
        cloud = geometry.PointCloud(vectors(part.vertices))
        cloud.colors = vectors(part.colors / 255)
        if part.normals is not None:
            cloud.normals = vectors(part.normals)
        return cloud
    mesh = geometry.TriangleMesh(vectors(part.vertices), utility.Vector3iVector(part.faces.astype(np.int32)))
    mesh.vertex_colors = vectors(part.colors / 255)
    if part.normals is not None:
        mesh.vertex_normals = vectors(part.normals)
    return mesh


def _material(part: Part) -> Any:
    """Shader and point size of a part."""
    from open3d.visualization.rendering import MaterialRecord

    material = MaterialRecord()
    material.shader = "defaultUnlit" if part.normals is None else "defaultLit"
    material.point_size = max(part.point_size, 1.0)
    return material
