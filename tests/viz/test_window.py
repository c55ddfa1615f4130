"""The desktop window: what it answers to its process, and, where Xvfb can give a display, a real window."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab
from viewer_scenes import street

from geo3d.viz import desktop, window
from geo3d.viz.window import PANEL_WIDTH, Request, Window, WindowScene

BLUE = (40, 90, 200)  # of the points


@pytest.fixture
def answers(monkeypatch) -> tuple[Window, object]:
    """The window that would open for a scene of 10 m, and the function that answers it."""
    caught: list = []
    monkeypatch.setattr(desktop, "show_window", lambda *arguments: caught.extend(arguments))
    scenes = [street(), street(3.0)]
    scenes[1].layers["ground"] = scenes[1].layers["ground"].shown(False)
    desktop.show_scenes(scenes, size=(400 + PANEL_WIDTH, 300), view="corner")
    return caught[0], caught[1]


def pose_of(window: Window) -> tuple[tuple[float, ...], ...]:
    """[4, 4] of the window's first camera, as Open3D tells it."""
    backward = window.eye - window.target
    backward = backward / np.linalg.norm(backward)
    right = np.cross(window.up, backward)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(backward, right), backward, window.eye], axis=1)
    return tuple(tuple(row) for row in pose.tolist())


def test_scenes_are_sent_when_they_are_asked_for(answers):
    opened, answer = answers
    assert opened.count == 2 and opened.title == "street <b> & co"
    first, second = answer(Request("scene", 0)), answer(Request("scene", 1))
    assert isinstance(first, WindowScene)
    assert [layer.name for layer in first.layers] == ["ground", "boxes", "tetrahedron", "walker"]
    assert [layer.visible for layer in second.layers] == [False, True, True, True]
    boxes = first.layers[1]
    assert [shape.cells.shape[1] for shape in boxes.shapes] == [2, 3] and boxes.shapes[1].opacity == 0.2
    assert [text for text, _ in boxes.texts] == ["car 0.90", "</script>"]
    np.testing.assert_allclose(np.array(boxes.texts[0][1]) + opened.origin, [4, 0, 0.8], atol=1e-12)
    assert first.legend == (("car", (230, 130, 20)),)


def test_pictures_are_what_the_window_shows(answers, tmp_path):
    pytest.importorskip("open3d", exc_type=ImportError)
    opened, answer = answers
    looks = {"size": (400, 300), "pose": pose_of(opened), "path": str(tmp_path / "a.png")}
    assert answer(Request("picture", 0, **looks)) == f"wrote {tmp_path / 'a.png'}"
    everything = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    blue, red = ((np.abs(everything - color).max(axis=-1) < 60).sum() for color in ((40, 90, 200), (230, 20, 20)))
    assert blue > 1000 and red > 100
    answer(Request("picture", 0, hidden=("ground",), **looks))
    without = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    assert (np.abs(without - (40, 90, 200)).max(axis=-1) < 60).sum() < 0.1 * blue
    missing = answer(Request("picture", 0, **{**looks, "path": str(tmp_path / "none" / "a.png")}))
    assert missing.startswith("could not write")


def test_picking_names_the_nearest_point(answers):
    opened, answer = answers
    pose = np.array(pose_of(opened))
    corner = np.array([0, -6, 4.0])  # the tip of the tetrahedron
    local = (corner - opened.origin - pose[:3, 3]) @ pose[:3, :3]
    focal = 150 / np.tan(np.radians(opened.fov_deg) / 2)
    pixel = (round(200 - local[0] / local[2] * focal), round(150 + local[1] / local[2] * focal))
    looks = {"size": (400, 300), "pose": pose_of(opened), "pixel": pixel}
    assert answer(Request("pick", 0, **looks)) == "tetrahedron\nx 0.000  y -6.000  z 4.000"
    assert answer(Request("pick", 0, **{**looks, "pixel": (2, 2)})) == "no point there"
    assert answer(Request("pick", 0, hidden=("tetrahedron",), **looks)) == "no point there"


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A display without a screen."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb to give a display: apt-get install xvfb")
    number = 90 + os.getpid() % 500
    server = subprocess.Popen(["Xvfb", f":{number}", "-screen", "0", "800x600x24"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not os.path.exists(f"/tmp/.X11-unix/X{number}") and time.monotonic() < deadline:
        time.sleep(0.1)
    yield f":{number}"
    server.terminate()
    server.wait()


class Watcher(threading.Thread):
    """Looks at a display until points are seen on it, at most two minutes, then writes a file.

    Attributes:
        screen: [H, W, 3] the last look.
    """

    def __init__(self, display: str, done: Path) -> None:
        super().__init__(daemon=True)
        self._display, self._done = display, done
        self.screen = np.zeros((1, 1, 3), dtype=int)

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while seen(self.screen, BLUE).sum() < 1000 and time.monotonic() < deadline:
            time.sleep(0.3)
            self.screen = np.asarray(ImageGrab.grab(xdisplay=self._display).convert("RGB")).astype(int)
        self._done.touch()


def seen(screen: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """[H, W] where a colour is seen, as exactly as Open3D's half precision can."""
    return np.abs(screen - color).max(axis=-1) < 12


def test_a_window_opens_steps_hides_and_closes(display, monkeypatch, tmp_path):
    pytest.importorskip("open3d", exc_type=ImportError)
    monkeypatch.setenv("DISPLAY", display)
    asked: list[Request] = []
    original = window.show_window
    monkeypatch.setattr(
        desktop,
        "show_window",
        lambda opened, answer: original(opened, lambda request: (asked.append(request), answer(request))[1]),
    )
    path, looked = tmp_path / "window.png", tmp_path / "looked"
    actions = [f"await {looked}", "hide walker", f"picture {path}", "next", "previous", "quit"]
    watcher = Watcher(display, looked)
    watcher.start()
    try:
        desktop.show_scenes([street(), street(3.0)], size=(640, 400), view="corner", actions=actions)
    except RuntimeError as error:
        if "Vulkan" in str(error):
            pytest.skip(str(error))
        raise
    assert [(request.ask, request.index) for request in asked] == [("scene", 0), ("picture", 0), ("scene", 1), ("scene", 0)]
    assert list(asked[1].hidden) == ["walker"] and Image.open(path).size == (640 - PANEL_WIDTH, 400)
    blue, drawn = seen(watcher.screen, BLUE), watcher.screen.max(axis=-1) > 0  # the screen behind the window is black
    assert blue.sum() > 1000 and seen(watcher.screen, (230, 130, 20)).sum() > 50  # points and lines in their colours
    columns = np.flatnonzero(blue.any(axis=0)) - np.flatnonzero(drawn.any(axis=0))[0]
    assert 0 < columns[0] and columns[-1] < 640 - PANEL_WIDTH  # all of them, beside the panel
    assert len(columns) > 0.7 * (640 - PANEL_WIDTH)  # and they fill the view
