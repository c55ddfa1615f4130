"""A desktop window, opened by Open3D in a process of its own.

Open3D aborts the whole process where there is no graphics driver; in its own process that becomes an error of one line.
The window's process asks, a line of JSON on its standard output, and gets a pickled answer on its standard input: scenes by
number, so that a sequence is never sent as a whole, and pictures and picked points, which the CPU draws and finds, because
Open3D can wait for ever for a picture from a software driver.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geo3d.viz.display import missing_display

PANEL_WIDTH = 240  # pixels at the right of the window, before the display's scaling


@dataclass(frozen=True)
class Shape:
    """What Open3D draws: vertices [V, 3] around the origin, colors [V, 3] uint8 (of lines: [L, 3]), normals [V, 3] or None.

    `cells` are faces [F, 3], lines [L, 2], or None for points; `size` is the width of points and lines in pixels.
    """

    vertices: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None
    cells: np.ndarray | None
    size: float
    opacity: float = 1.0
    lit: bool = True


@dataclass(frozen=True)
class WindowLayer:
    """A line of the list of layers: its shapes, and texts at anchors [3]."""

    name: str
    shapes: tuple[Shape, ...]
    texts: tuple[tuple[str, tuple[float, float, float]], ...]
    visible: bool


@dataclass(frozen=True)
class WindowScene:
    """One scene of a window: title, layers, and names with colours for the legend."""

    title: str
    layers: tuple[WindowLayer, ...]
    legend: tuple[tuple[str, tuple[int, int, int]], ...]


@dataclass(frozen=True)
class Window:
    """What a window shows at first; the camera is around the `origin` that was subtracted from all positions.

    `actions` are done one after another as if a user did them, for tests: "next", "previous", "hide NAME", "show NAME",
    "pick X Y", "picture PATH", "await PATH", "quit".
    """

    title: str
    count: int
    size: tuple[int, int]
    background: tuple[float, float, float]
    eye: np.ndarray
    target: np.ndarray
    up: np.ndarray
    fov_deg: float
    origin: np.ndarray
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What the window asks for: "scene", "picture" (to `path`, or a free name) or "pick" (what is at a pixel).

    `pose` [4, 4] is that of the camera (x right, y up, z backward) around the origin; `size` is that of the 3D view.
    """

    ask: str
    index: int
    hidden: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    pose: tuple[tuple[float, ...], ...] = ()
    pixel: tuple[int, int] = (0, 0)
    path: str | None = None


def show_window(window: Window, answer: Callable[[Request], WindowScene | str]) -> None:
    """Shows a window and waits until it is closed.

    Args:
        window: size, camera and number of scenes.
        answer: makes the scene of an index from 0 to `window.count` - 1, or does what is asked and says what happened.

    Raises:
        RuntimeError: no display, or Open3D cannot open a window; the message says what is missing.
    """
    if problem := missing_display():
        raise RuntimeError(f"no display to open a window on ({problem}); save a picture instead: scene.save('picture.png')")
    code = f"import sys; sys.path[:] = {sys.path!r}; from geo3d.viz.window_app import main; main()"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process, window)
            for line in process.stdout:
                _send(process, answer(Request(**json.loads(line))))
        finally:
            process.stdin.close()
            process.stdout.close()
            status = process.wait()
        log.seek(0)
        if status:
            raise RuntimeError(explain_failure(status, log.read().decode(errors="replace")))


def _send(process: subprocess.Popen[bytes], message: Window | WindowScene | str) -> None:
    """To the window's process; one that has ended explains itself by its status and log."""
    assert process.stdin is not None
    try:
        process.stdin.write(pickle.dumps(message))
        process.stdin.flush()
    except (BrokenPipeError, OSError):
        pass


def explain_failure(code: int, log: str) -> str:
    """One line for a window process that ended with an error, from what it wrote."""
    if "Vulkan" in log and ("createVkInstance" in log or "IncompatibleDriver" in log or "libvulkan" in log):
        return "Open3D found no Vulkan driver to open a window with; apt-get install libvulkan1 mesa-vulkan-drivers"
    if "GLFW" in log and "failed" in log:
        return "Open3D could not open a window on this display; save a picture instead: scene.save('picture.png')"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"Open3D's window ended with code {code}: {lines[-1] if lines else 'no message'}"
