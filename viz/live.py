"""A scene or a sequence live in the browser, served by viser on this machine."""

from __future__ import annotations

import contextlib
import inspect
import io
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from geo3d.viz.access import Access
from geo3d.viz.camera import AXES, View, as_view, orbit_around
from geo3d.viz.colors import linear
from geo3d.viz.compose import image_with_overlay
from geo3d.viz.content import SceneContent
from geo3d.viz.drawing import frame_layers, visible_content
from geo3d.viz.gltf import glb_bytes
from geo3d.viz.layers import Lines, Mesh, Part, Picture, Points, parts_of

FITTED_TO = (1200, 900)  # the size of the view for which the first camera is placed
IMAGE_WIDTH = 640  # pixels of an image in the panel


def serve_scene(scene: SceneContent, *, port: int, host: str, view: str | View) -> LiveView:
    """See `Scene.serve`."""
    return serve_scenes([scene], port=port, host=host, view=view, fps=10.0)


def serve_scenes(scenes: Sequence[SceneContent], *, port: int, host: str, view: str | View, fps: float) -> LiveView:
    """See `SceneSequence.serve`."""
    direction = as_view(view)
    scenes[0].check_content()
    try:
        import viser
    except ImportError:
        raise RuntimeError("the live view needs viser: pip install 'geo3d[viewer]'") from None
    access = Access.to(host)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            _guarded(access) as guards,
        ):  # viser's banner; the caller tells the address
            server = viser.ViserServer(host=host, port=port, label=scenes[0].title or "geo3d", verbose=False)
    except OSError as error:
        raise RuntimeError(f"no port to listen on at {host}:{port}: {error}") from None
    if not guards:
        server.stop()
        raise RuntimeError(f"viser {viser.__version__} starts its server in a way that geo3d cannot guard; install viser 1.1")
    return LiveView(server, scenes, direction, fps, access.url(server.get_port()))


_starting = threading.Lock()  # of servers, one at a time


@contextlib.contextmanager
def _guarded(access: Access) -> Iterator[list[Any]]:
    """Let the server that starts in this block check every request; gives the checks that were built in.

    viser has no option for it, but the library of its WebSockets does.
    """
    from websockets.asyncio import server as websockets

    with _starting:
        serve = websockets.serve
        guards: list[Any] = []

        def guarded_serve(handler: Any, host: Any, port: Any, **options: Any) -> Any:
            answer = options.get("process_request")

            async def check(connection: Any, request: Any) -> Any:
                refusal = access.refusal(request.path, request.headers)
                if refusal is not None:
                    return connection.respond(403, f"{refusal}\n")
                response = answer(connection, request) if answer is not None else None
                response = await response if inspect.isawaitable(response) else response
                if response is not None:
                    for name, value in access.response_headers(request.path).items():
                        response.headers[name] = value
                return response

            guards.append(check)
            return serve(handler, host, port, **{**options, "process_request": check})

        websockets.serve = guarded_serve  # type: ignore[assignment,misc]
        try:
            yield guards
        finally:
            websockets.serve = serve  # type: ignore[misc]


class LiveView:
    """A running live view; `with scene.serve() as live:` stops it at the end.

    Attributes:
        url: where to look; with a token where others than this machine may connect.
    """

    def __init__(self, server: Any, scenes: Sequence[SceneContent], view: View, fps: float, url: str) -> None:
        self._server = server
        self._scenes = scenes
        self._index = 0
        self._fps = fps
        self._lock = threading.RLock()
        self._playing = False
        self._slider: Any = None
        self._hidden: set[str] = set()
        self._nodes: dict[str, list[Any]] = {}
        self._controls: list[Any] = []
        self.url = url
        self._place_camera(scenes[0], view)
        if len(scenes) > 1:
            self._add_time()
        self._point_scale = server.gui.add_slider("Point size", 0.3, 4.0, 0.1, 1.0)
        self._point_scale.on_update(lambda _: self.update())
        self.update()

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def update(self) -> None:
        """Shows the scene as it is now; call it after changing layers."""
        with self._lock, self._server.atomic():
            scene = self._scenes[self._index]
            self._clear()
            self._add_controls(scene)
            points = iter(self._point_sizes(scene))
            for name, layer in scene.layers.items():
                sizes = [next(points) if isinstance(part, Points) and layer.visible else 2.5 for part in layer.parts]
                on = layer.visible and name not in self._hidden
                self._nodes[name] = [
                    node
                    for number, (part, size) in enumerate(zip(layer.parts, sizes, strict=True))
                    for node in self._add_part(f"/{name}/{number}", part, size, on)
                ]

    def show(self, index: int) -> None:
        """Shows another scene of the sequence.

        Raises:
            IndexError: there is none of this number.
        """
        if not 0 <= index < len(self._scenes):
            raise IndexError(f"index must be in 0..{len(self._scenes) - 1}, got {index}")
        with self._lock:
            if index != self._index:
                self._index = index
                self.update()
            if self._slider is not None and self._slider.value != index + 1:
                self._slider.value = index + 1

    def wait(self) -> None:
        """Waits until the user presses Ctrl+C, then stops."""
        try:
            self._server.sleep_forever()
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """Closes the live view."""
        self._playing = False
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def _place_camera(self, scene: SceneContent, view: View) -> None:
        """The first camera, and the origin that is subtracted so that map coordinates fit into float32."""
        layers = list(scene.layers.values())
        camera, self._origin, _ = frame_layers(layers, scene.up, view, FITTED_TO, 1)
        orbit = orbit_around(camera, scene.up, visible_content(layers) - self._origin)
        self._pixel = orbit.distance / camera.focal  # size in space of a pixel at the target
        self._camera_for_sizes = (view, camera)
        first = self._server.initial_camera
        first.position, first.look_at, first.up = camera.eye, orbit.target, -camera.axes[1]
        first.fov = np.radians(view.fov_deg)
        self._server.scene.set_up_direction(("+" if len(scene.up) == 1 else "") + scene.up)
        self._server.scene.set_background_image(np.full((4, 4, 3), scene.background, dtype=np.uint8))
        self._server.gui.configure_theme(show_logo=False, show_share_button=False)

    def _point_sizes(self, scene: SceneContent) -> list[float]:
        """In pixels, of each part of points that is visible."""
        view = self._camera_for_sizes[0]
        return frame_layers(list(scene.layers.values()), scene.up, view, FITTED_TO, 1)[2]

    def _clear(self) -> None:
        for node in (*self._controls, *(node for nodes in self._nodes.values() for node in nodes)):
            node.remove()
        self._controls, self._nodes = [], {}

    def _add_controls(self, scene: SceneContent) -> None:
        """Checkboxes of the layers, legend, and images with their overlays."""
        gui = self._server.gui
        folder = gui.add_folder("Layers")
        self._controls.append(folder)
        with folder:
            for name, layer in scene.layers.items():
                if layer.kind != "image":
                    box = gui.add_checkbox(name, layer.visible and name not in self._hidden)
                    box.on_update(lambda event, name=name: self._switch(name, event.target.value))
        if scene.legend:
            rows = [f'<span style="color:rgb{color}">&#9632;</span> {_escaped(name)}' for name, color in scene.legend.items()]
            self._controls.append(gui.add_html("<br>".join(rows)))
        for image in parts_of(list(scene.layers.values()), Picture):
            height = max(1, round(image.pixels.shape[0] * IMAGE_WIDTH / image.pixels.shape[1]))
            pixels = image_with_overlay(scene, image, (IMAGE_WIDTH, height))
            self._controls.append(gui.add_image(pixels, label=image.caption))

    def _switch(self, name: str, on: bool) -> None:
        """Shows or hides a layer, here and in the scenes that follow."""
        with self._lock:
            (self._hidden.discard if on else self._hidden.add)(name)
            for node in self._nodes.get(name, []):
                node.visible = on

    def _add_time(self) -> None:
        """A slider over the scenes and a button that plays them."""
        gui = self._server.gui
        slider = self._slider = gui.add_slider("Frame", 1, len(self._scenes), 1, 1)
        button = gui.add_button("Play / pause")

        def play() -> None:
            while self._playing:
                slider.value = slider.value % len(self._scenes) + 1
                time.sleep(1 / self._fps)

        def toggle(_: object) -> None:
            self._playing = not self._playing
            if self._playing:
                threading.Thread(target=play, daemon=True).start()

        slider.on_update(lambda _: self.show(int(slider.value) - 1))
        button.on_click(toggle)

    def _add_part(self, name: str, part: Part, size: float, on: bool) -> list[Any]:
        """What viser draws for a part."""
        scene = self._server.scene
        if isinstance(part, Points):
            places = (part.positions - self._origin).astype(np.float32)
            width = size * self._pixel * self._point_scale.value
            options = {"point_size": width, "point_shape": "circle", "precision": "float32", "visible": on}
            return [scene.add_point_cloud(name, places, part.colors, point_shading="flat", **options)]
        if isinstance(part, Mesh):
            return [self._add_mesh(name, part, on)]
        if isinstance(part, Lines):
            places = (part.segments - self._origin).astype(np.float32)
            colors = np.round(255 * linear(part.colors)).astype(np.uint8)  # as viser takes them for lines, unlike for points
            options = {"thickness": part.width, "thickness_units": "screen", "visible": on}
            return (
                [scene.add_line_segments(name, places, np.repeat(colors[:, None], 2, axis=1), **options)] if len(places) else []
            )
        if isinstance(part, Picture):
            return []  # in the panel
        anchors = part.anchors(AXES[self._scenes[self._index].up])
        return [
            scene.add_label(f"{name}/{k}", text, position=anchor - self._origin, anchor="bottom-center", visible=on)
            for k, (text, anchor) in enumerate(zip(part.texts, anchors, strict=True))
        ]

    def _add_mesh(self, name: str, mesh: Mesh, on: bool) -> Any:
        """As glTF, which knows colours of vertices, opacity and surfaces that are not lit."""
        data = glb_bytes({"mesh": [mesh]}, self._origin, np.eye(3))
        return self._server.scene.add_glb(name, data, visible=on)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
