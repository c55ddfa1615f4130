"""A scene with a time axis: scenes one after another, as a video, a page with a time slider, or live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as AnySequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geo3d.viz.camera import View
from geo3d.viz.drawing import visible_content
from geo3d.viz.pictures import check_picture_path
from geo3d.viz.scene import Scene

if TYPE_CHECKING:
    from geo3d.viz.live import LiveView


class SceneSequence:
    """Scenes one after another, such as the sweeps of a drive or the steps of a fit.

    sequence = SceneSequence((scene_of(sweep) for sweep in sweeps), fps=10)
    sequence.save("drive.mp4", view="driver")

    A generator makes each scene when it is needed, and none is kept: a thousand sweeps take the memory of one. It can be
    saved once. `show` and `serve` go to and fro, so they need something with `len()` and `[]`: a list, or a class whose
    `__getitem__` makes the scene.

    Args:
        scenes: the scenes in order.
        fps: scenes per second when they are played.
    """

    def __init__(self, scenes: Iterable[Scene], *, fps: float = 10.0) -> None:
        if not 0.1 <= fps <= 120:
            raise ValueError(f"fps must be in 0.1..120, got {fps}")
        self.scenes = scenes
        self.fps = fps

    def save(self, path: str | Path, *, size: tuple[int, int] = (960, 720), view: str | View = "corner") -> Path:
        """Writes a video or a page.

        The camera stands still. It sees all scenes of a list; of a generator, what the first scene shows, or what the
        view's `frame` says.

        Args:
            path: .mp4, .gif, or .html, a page with a time slider.
            size: (width, height) of a video in pixels.
            view: as in `Scene.render`.

        Raises:
            ValueError: no scenes, an empty first one, an unknown view, or another kind of file.
            FileNotFoundError: no such folder.
            RuntimeError: Open3D cannot draw here, or OpenCV cannot write video.
        """
        from geo3d.viz import output

        path = check_picture_path(path, output.SEQUENCE_SUFFIXES)
        scenes, content = self.framed()
        return output.save_sequence(scenes, content, path, size=size, view=view, fps=self.fps)

    def show(self, *, size: tuple[int, int] = (1280, 800), view: str | View = "corner") -> None:
        """Opens a window that steps through the scenes with the arrow keys; otherwise as `Scene.show`.

        Raises:
            ValueError: scenes without `len()` and `[]`, or none.
            RuntimeError: as `Scene.show`.
        """
        from geo3d.viz.desktop import show_scenes

        show_scenes(self.as_list("show"), size=size, view=view)

    def serve(self, *, port: int = 8080, host: str = "127.0.0.1", view: str | View = "corner") -> LiveView:
        """Opens a live view with a time slider in the browser; otherwise as `Scene.serve`.

        Raises:
            ValueError: scenes without `len()` and `[]`, or none.
            RuntimeError: as `Scene.serve`.
        """
        from geo3d.viz.live import serve_scenes

        return serve_scenes(self.as_list("serve"), port=port, host=host, view=view, fps=self.fps)

    def as_list(self, what: str) -> AnySequence[Scene]:
        """The scenes, if they can be gone through to and fro.

        Raises:
            ValueError: they cannot, or there are none.
        """
        if not (hasattr(self.scenes, "__len__") and hasattr(self.scenes, "__getitem__")):
            raise ValueError(
                f"{what} goes to and fro, so it needs scenes with len() and [], such as a list; got {type(self.scenes).__name__}"
            )
        scenes: AnySequence[Scene] = self.scenes  # type: ignore[assignment]
        if len(scenes) == 0:
            raise ValueError("expected at least one scene, got none")
        return scenes

    def framed(self) -> tuple[Iterator[Scene], np.ndarray]:
        """The scenes, and the points [N, 3] that the camera must see: of all scenes in a list or tuple, else of the first.

        Raises:
            ValueError: no scenes.
        """
        rest = iter(self.scenes)
        first = next(rest, None)
        if first is None:
            raise ValueError("expected at least one scene, got none")
        seen = self.scenes if isinstance(self.scenes, (list, tuple)) else [first]
        content = np.concatenate([visible_content(list(scene.layers.values())) for scene in seen])
        return chain([first], rest), content
