"""Files of a scene: which writer a file's name asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.compose import compose

if TYPE_CHECKING:
    from geo3d.viz.scene import Scene

SUFFIXES = pictures.PICTURE_SUFFIXES


def save_scene(
    scene: Scene,
    path: str | Path,
    *,
    size: tuple[int, int],
    view: str | View,
    views: Sequence[str | View] | None,
) -> Path:
    """See `Scene.save`."""
    path = pictures.check_picture_path(path, SUFFIXES)
    return pictures.write_picture(path, compose(scene, size, [view] if views is None else views))
