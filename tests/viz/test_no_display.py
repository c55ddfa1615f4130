"""What is said, in one line with a way out, where nothing can be drawn or shown."""

from __future__ import annotations

import sys

import pytest
from small_scenes import SIZE, ball, cube

from geo3d.viz import Scene
from geo3d.viz.raycast import explain_import_error
from geo3d.viz.window import explain_failure


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_show_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    scene = Scene()
    scene.add_points(ball())
    scene.add_mesh(*cube())
    with pytest.raises(RuntimeError, match=r"no display .*scene\.save") as caught:
        scene.show()
    assert "\n" not in str(caught.value)


def test_rendering_without_open3d(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    scene = Scene()
    scene.add_points(ball())
    with pytest.raises(RuntimeError, match="pip install open3d"):
        scene.render(size=SIZE)


@pytest.mark.parametrize(
    ("message", "way_out"),
    [
        ("libGL.so.1: cannot open shared object file: No such file or directory", "apt-get install libgl1"),
        ("libX11.so.6: cannot open shared object file: No such file or directory", "apt-get install libx11-6"),
        ("libusb-1.0.so.0: cannot open shared object file: No such file", "apt-get install libusb-1.0-0"),
        ("libodd.so.3: cannot open shared object file: No such file", "the system package that brings libodd.so"),
    ],
)
def test_missing_system_libraries_are_named(message, way_out):
    assert explain_import_error(ImportError(message)).endswith(way_out)


def test_window_failures_are_one_line():
    log = "[Open3D WARNING] EngineInstance: Vulkan context init failed\nPostcondition\nin createVkInstance:939\n"
    assert explain_failure(-6, log).endswith("apt-get install libvulkan1 mesa-vulkan-drivers")
    assert "save a picture" in explain_failure(1, "[Open3D WARNING] GLFW initialized failed\nerror")
    assert explain_failure(3, "\n") == "Open3D's window ended with code 3: no message"
