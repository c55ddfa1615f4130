"""A scene: plain arrays as layers, drawn to a picture, a video, a page, a 3D file, or in a window.

scene = Scene(up="z", title="A street")
scene.add_points(points, values=intensity)
scene.add_boxes(boxes, labels=labels, scores=scores, names=("car", "pedestrian", "cyclist"))
scene.save("street.png", view="driver")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geo3d.viz.camera import View
from geo3d.viz.scene_layers import SceneLayers

if TYPE_CHECKING:
    from geo3d.viz.live import LiveView


class Scene(SceneLayers):
    """Layers to look at. It only keeps arrays; Open3D and others come in when something is drawn.

    Each `add_...` takes the data first and looks by keyword, and returns a `Handle` to hide, change or remove the layer.
    All take a `name`, for lists of layers and for `overlay`; the default is points_1, points_2, boxes_1, ...
    They raise ValueError for shapes or dtypes that do not fit, numbers that are not finite, and a name that is taken.

    Args:
        up: the axis that points up: z (LiDAR, rooms), y (shapes, bodies), x, or -y (camera frames), -x, -z.
        title: a line above the picture.
        background: colour behind everything, 0..255.
    """

    def render(self, *, size: tuple[int, int] = (1200, 900), view: str | View = "corner") -> np.ndarray:
        """The scene seen from one direction, with title, legend and images, the content as large as fits.

        Args:
            size: (width, height) in pixels.
            view: a name (corner, front, back, left, right, top, driver) or a View.

        Returns:
            [height, width, 3] uint8.

        Raises:
            ValueError: an empty scene, an unknown view, or a size outside 64..8192 or too small for title and legend.
            RuntimeError: Open3D cannot draw here; the message says what is missing.
        """
        from geo3d.viz.compose import compose

        return compose(self, size, [view])

    def save(
        self,
        path: str | Path,
        *,
        size: tuple[int, int] = (1200, 900),
        view: str | View = "corner",
        views: Sequence[str | View] | None = None,
        fps: float = 20.0,
        seconds: float = 6.0,
    ) -> Path:
        """Writes the scene as what the file's name ends in; no display is needed.

        Args:
            path: .png, .jpg or .webp for a picture; .mp4 or .gif for a turn around the scene; .html for a page that opens in
                any browser without a network; .glb or .ply for other programs. Replaced if it is there.
            size: (width, height) of the whole picture in pixels; of pictures and videos.
            view: as in `render`; where a video or page begins.
            views: several directions on one sheet, instead of `view`; of pictures.
            fps: pictures per second of a video.
            seconds: that one turn takes in a video.

        Raises:
            ValueError, RuntimeError: as `render`; ValueError also for an unknown kind of file, or a kind that cannot hold
                what is in the scene.
            FileNotFoundError: no such folder.
        """
        from geo3d.viz.output import save_scene

        return save_scene(self, path, size=size, view=view, views=views, fps=fps, seconds=seconds)

    def show(self, *, size: tuple[int, int] = (1280, 800), view: str | View = "corner") -> None:
        """Opens a window to turn the scene by mouse, with a list of its layers; returns when it is closed.

        Raises:
            ValueError: an empty scene, or an unknown view.
            RuntimeError: no display, or Open3D cannot draw here.
        """
        from geo3d.viz.desktop import show_scenes

        show_scenes([self], size=size, view=view)

    def serve(self, *, port: int = 8080, host: str = "127.0.0.1", view: str | View = "corner") -> LiveView:
        """Opens a live view in the browser and returns at once.

        Args:
            port: to listen on; the next free one if it is taken.
            host: address to listen on; "0.0.0.0" lets other machines look, too, with the token in `url`.
            view: where it begins.

        Returns:
            a handle with the `url`, `update()` after changes to the scene, `wait()`, and `stop()`.

        Raises:
            ValueError: an empty scene, or an unknown view.
            RuntimeError: viser is not installed, or no port is free.
        """
        from geo3d.viz.live import serve_scene

        return serve_scene(self, port=port, host=host, view=view)
