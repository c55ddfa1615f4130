"""The content of a scene, which everything that draws or writes one takes."""

from __future__ import annotations

import numpy as np

from geo3d.viz.camera import AXES
from geo3d.viz.colors import as_colors
from geo3d.viz.layers import Layer
from geo3d.viz.pictures import Scale


class SceneContent:
    """Layers by name, with legend and color scale.

    Attributes:
        up: the axis that points up.
        title: a line above the picture.
        background: color behind everything, 0..255.
        layers: what is drawn, by name.
        legend: color by text.
        scale: of colored values; None without one.
    """

    def __init__(self, *, up: str = "z", title: str | None = None, background: tuple[int, int, int] = (250, 250, 252)) -> None:
        if up not in AXES:
            raise ValueError(f"up must be one of {', '.join(AXES)}, got {up!r}")
        self.up = up
        self.title = title
        self.background: tuple[int, int, int] = tuple(int(value) for value in as_colors(np.asarray(background), 1)[0])  # type: ignore[assignment]
        self.layers: dict[str, Layer] = {}
        self.legend: dict[str, tuple[int, int, int]] = {}
        self.scale: Scale | None = None

    def check_content(self) -> None:
        """Raises ValueError where there is nothing to draw."""
        if not self.layers:
            raise ValueError("the scene is empty; add points or a mesh first")
        if not any(layer.visible and layer.parts for layer in self.layers.values()):
            raise ValueError("the scene shows nothing: every layer is hidden or empty")
