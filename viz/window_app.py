"""The process of the desktop window: an Open3D scene with a list of layers, point size, picking, steps and pictures."""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from dataclasses import asdict, replace
from typing import IO, Any

import numpy as np

from geo3d.viz.raycast import explain_import_error
from geo3d.viz.window import PANEL_WIDTH, Request, Shape, Window, WindowScene

HELP = "drag: turn    wheel: zoom    ctrl+drag: move    shift+click: the point there    left/right: scenes    s: picture"
LAMP = (0.577, -0.577, -0.577)  # where its light goes
INDIRECT, SUN = 27_000, 34_000  # lux; more would be white, as nothing maps the tones
SETTLE = 6  # drawings to wait between two actions
REDRAWN = 30.0  # seconds of drawing after a change: Open3D loses pictures while a slow driver builds shaders
SWATCH = 14  # pixels along each side of a legend's colour


def main() -> None:
    """Reads a pickled Window from standard input, and each scene when it is shown."""
    requests = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what Open3D writes to standard output is no request
    window: Window = pickle.load(sys.stdin.buffer)
    try:
        from open3d.visualization import gui
    except (ImportError, OSError) as error:
        sys.exit(explain_import_error(error))
    application = gui.Application.instance
    application.initialize()
    viewer = Viewer(window, requests)
    viewer.show(0)
    application.run()
    _end()


def _end() -> bool:
    """Ends the process at once: Open3D's own shutdown can abort."""
    os._exit(0)


class Viewer:
    """The window: the scene at the left, the panel at the right."""

    def __init__(self, window: Window, requests: IO[str]) -> None:
        from open3d.visualization import gui, rendering

        self._given = window
        self._requests = requests
        self._index = 0
        self._hidden: set[str] = set()
        self._seen: set[str] = set()
        self._labels: dict[str, list[Any]] = {}
        self._nodes: dict[str, list[tuple[str, Shape]]] = {}
        self._scale = 1.0
        self._actions = list(window.actions)
        self._ticks = 0
        self._redrawn_until = 0.0
        self._window = gui.Application.instance.create_window(window.title, *window.size)
        self._view = gui.SceneWidget()
        self._view.scene = rendering.Open3DScene(self._window.renderer)
        self._view.scene.set_background([*window.background, 1.0])
        profile = rendering.Open3DScene.LightingProfile.NO_SHADOWS  # shadows take a software driver long
        self._view.scene.set_lighting(profile, LAMP)
        self._view.scene.view.set_post_processing(False)  # its tone mapping washes out colours that mean something
        self._view.scene.scene.set_indirect_light_intensity(INDIRECT)
        self._view.scene.scene.set_sun_light(LAMP, [1.0, 1.0, 1.0], SUN)
        self._view.set_on_mouse(self._on_mouse)
        self._panel = gui.ScrollableVert(0, gui.Margins(8, 8, 8, 8))
        self._content = gui.WidgetProxy()
        self._panel.add_child(self._content)
        self._window.add_child(self._view)
        self._window.add_child(self._panel)
        self._window.set_on_layout(self._on_layout)
        self._window.set_on_close(_end)
        self._window.set_on_key(self._on_key)
        self._status = gui.Label("")
        self._window.set_on_tick_event(self._on_tick)

    def show(self, index: int) -> None:
        """Asks for a scene and puts it in the place of the last one."""
        first, self._index = not self._nodes, index
        scene: WindowScene = self._ask(Request("scene", index))
        for name in list(self._nodes):
            self._drop(name)
        for layer in scene.layers:
            if layer.name not in self._seen and not layer.visible:
                self._hidden.add(layer.name)
            self._seen.add(layer.name)
            self._nodes[layer.name] = [(f"{layer.name}/{k}", shape) for k, shape in enumerate(layer.shapes)]
            for node, shape in self._nodes[layer.name]:
                self._view.scene.add_geometry(node, _geometry(shape), self._material(shape))
            self._labels[layer.name] = []
            self._switch(layer.name, layer.name not in self._hidden, layer.texts)
        self._fill_panel(scene)
        if first:
            given, bounds = self._given, self._view.scene.bounding_box
            self._view.setup_camera(given.fov_deg, bounds, given.target)
            self._view.look_at(given.target, given.eye, given.up)
        self._redraw()

    def step(self, by: int) -> None:
        """To another scene, around the ends."""
        if self._given.count > 1:
            self.show((self._index + by) % self._given.count)

    def save_picture(self, path: str | None = None) -> None:
        """Writes what is seen to a file, by default one that is not there yet."""
        self._say(self._ask(replace(self._request("picture"), path=path)))

    def pick(self, x: int, y: int) -> None:
        """Says which point is at a pixel of the 3D view."""
        self._say(self._ask(replace(self._request("pick"), pixel=(x, y))))

    def _ask(self, request: Request) -> Any:
        """The other process's answer."""
        self._requests.write(json.dumps(asdict(request)) + "\n")
        return pickle.load(sys.stdin.buffer)

    def _request(self, ask: str) -> Request:
        frame, pose = self._view.frame, self._view.scene.camera.get_model_matrix()
        rows = tuple(tuple(float(value) for value in row) for row in pose)
        return Request(ask, self._index, tuple(self._hidden), (frame.width, frame.height), rows)

    def _drop(self, name: str) -> None:
        for node, _ in self._nodes.pop(name):
            self._view.scene.remove_geometry(node)
        for label in self._labels.pop(name, []):
            self._view.remove_3d_label(label)

    def _switch(self, name: str, on: bool, texts: tuple[tuple[str, tuple[float, float, float]], ...]) -> None:
        """Shows or hides a layer with its texts, which Open3D can only add and remove."""
        (self._hidden.discard if on else self._hidden.add)(name)
        for node, _ in self._nodes[name]:
            self._view.scene.show_geometry(node, on)
        for label in self._labels[name]:
            self._view.remove_3d_label(label)
        self._labels[name] = [self._view.add_3d_label(anchor, text) for text, anchor in texts] if on else []
        self._redraw()

    def _redraw(self) -> None:
        self._redrawn_until = time.monotonic() + REDRAWN
        self._window.post_redraw()

    def _material(self, shape: Shape) -> Any:
        """Shader and size of a shape."""
        from open3d.visualization.rendering import MaterialRecord

        material = MaterialRecord()
        if shape.cells is not None and shape.cells.shape[1] == 2:
            material.shader = "unlitLine"
            material.line_width = shape.size * self._window.scaling
            return material
        material.shader = "defaultUnlit" if shape.normals is None or not shape.lit else "defaultLit"
        if shape.opacity < 1:
            material.shader = "defaultLitTransparency"
            material.has_alpha = True
            material.base_color = [1, 1, 1, shape.opacity]
        material.point_size = max(shape.size * self._scale * self._window.scaling, 1.0)
        return material

    def _fill_panel(self, scene: WindowScene) -> None:
        """Title, steps, layers, point size, legend, buttons."""
        from open3d.visualization import gui

        panel = gui.Vert(6)
        panel.add_child(gui.Label(scene.title))
        if self._given.count > 1:
            steps = gui.Horiz(6)
            for text, by in (("<", -1), (">", 1)):
                button = gui.Button(text)
                button.set_on_clicked(lambda by=by: self.step(by))
                steps.add_child(button)
            steps.add_child(gui.Label(f"{self._index + 1} / {self._given.count}"))
            panel.add_child(steps)
        for layer in scene.layers:
            box = gui.Checkbox(layer.name)
            box.checked = layer.name not in self._hidden
            box.set_on_checked(lambda on, layer=layer: self._switch(layer.name, on, layer.texts))
            panel.add_child(box)
        slider = gui.Slider(gui.Slider.DOUBLE)
        slider.set_limits(0.3, 4.0)
        slider.double_value = self._scale
        slider.set_on_value_changed(self._resize_points)
        panel.add_child(gui.Label("Point size"))
        panel.add_child(slider)
        for name, color in scene.legend:
            row = gui.Horiz(6)
            row.add_child(gui.ImageWidget(_swatch(color, round(SWATCH * self._window.scaling))))
            row.add_child(gui.Label(name))
            panel.add_child(row)
        button = gui.Button("Picture")
        button.set_on_clicked(self.save_picture)
        panel.add_child(button)
        self._status = gui.Label("")
        panel.add_child(self._status)
        panel.add_child(gui.Label(HELP.replace("    ", "\n")))
        self._content.set_widget(panel)
        self._window.set_needs_layout()

    def _resize_points(self, scale: float) -> None:
        self._scale = scale
        for nodes in self._nodes.values():
            for node, shape in nodes:
                if shape.cells is None:
                    self._view.scene.modify_geometry_material(node, self._material(shape))
        self._redraw()

    def _say(self, text: str) -> None:
        self._status.text = text
        self._window.set_needs_layout()

    def _on_layout(self, _: Any) -> None:
        from open3d.visualization import gui

        area, width = self._window.content_rect, round(PANEL_WIDTH * self._window.scaling)
        self._view.frame = gui.Rect(area.x, area.y, area.width - width, area.height)
        self._panel.frame = gui.Rect(area.get_right() - width, area.y, width, area.height)

    def _on_key(self, event: Any) -> bool:
        from open3d.visualization import gui

        if event.type != gui.KeyEvent.DOWN:
            return False
        actions = {
            gui.KeyName.RIGHT: lambda: self.step(1),
            gui.KeyName.LEFT: lambda: self.step(-1),
            gui.KeyName.S: self.save_picture,
        }
        if event.key not in actions:
            return False
        actions[event.key]()
        return True

    def _on_mouse(self, event: Any) -> Any:
        from open3d.visualization import gui

        handled = gui.Widget.EventCallbackResult.HANDLED
        if event.type == gui.MouseEvent.Type.BUTTON_DOWN and event.is_modifier_down(gui.KeyModifier.SHIFT):
            self.pick(event.x - self._view.frame.x, event.y - self._view.frame.y)
            return handled
        return gui.Widget.EventCallbackResult.IGNORED

    def _on_tick(self) -> bool:
        """Does the actions that were given, some drawings apart; says whether to draw again."""
        self._ticks += 1
        if not self._actions:
            return time.monotonic() < self._redrawn_until
        if self._ticks % SETTLE:
            return True
        verb, *rest = self._actions.pop(0).split()
        if verb in ("next", "previous"):
            self.step(1 if verb == "next" else -1)
        elif verb in ("hide", "show"):
            self._switch(rest[0], verb == "show", ())
        elif verb == "pick":
            self.pick(int(rest[0]), int(rest[1]))
        elif verb == "picture":
            self.save_picture(rest[0])
        elif verb == "await" and not os.path.exists(rest[0]):
            self._actions.insert(0, f"await {rest[0]}")
        elif verb == "quit":
            print(self._status.text, file=sys.stderr, flush=True)
            _end()
        return True


def _swatch(color: tuple[int, int, int], size: int) -> Any:
    """A square of one colour, which the font of the window has no letter for."""
    from open3d.geometry import Image

    return Image(np.full((size, size, 3), color, dtype=np.uint8))


def _geometry(shape: Shape) -> Any:
    """The shape as Open3D's point cloud, lines or triangle mesh."""
    from open3d import geometry, utility

    def vectors(values: np.ndarray) -> Any:
        return utility.Vector3dVector(values.astype(np.float64))

    if shape.cells is None:
        cloud = geometry.PointCloud(vectors(shape.vertices))
        cloud.colors = vectors(shape.colors / 255)
        if shape.normals is not None:
            cloud.normals = vectors(shape.normals)
        return cloud
    if shape.cells.shape[1] == 2:
        lines = geometry.LineSet(vectors(shape.vertices), utility.Vector2iVector(shape.cells.astype(np.int32)))
        lines.colors = vectors(shape.colors / 255)
        return lines
    mesh = geometry.TriangleMesh(vectors(shape.vertices), utility.Vector3iVector(shape.cells.astype(np.int32)))
    mesh.vertex_colors = vectors(shape.colors / 255)
    if shape.normals is not None:
        mesh.vertex_normals = vectors(shape.normals)
    return mesh
