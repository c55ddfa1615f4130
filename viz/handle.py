"""What `Scene.add_...` returns: a way to change, hide or remove what was added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geo3d.viz.content import SceneContent
from geo3d.viz.layers import Layer


class Handle:
    """A layer of a scene.

    Attributes:
        name: of the layer, in lists of layers and for `overlay`.
        scene: the scene it was added to.
    """

    def __init__(self, name: str, scene: SceneContent, build: Callable[..., Layer], arguments: dict[str, Any]) -> None:
        self.name = name
        self.scene = scene
        self._build = build
        self._arguments = arguments

    def __repr__(self) -> str:
        return f"Handle({self.name!r})"

    @property
    def visible(self) -> bool:
        """Whether the layer is drawn; False, too, once it is removed. Assign to show and hide it."""
        layer = self.scene.layers.get(self.name)
        return layer is not None and layer.visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._check_present()
        self.scene.layers[self.name] = self.scene.layers[self.name].shown(bool(visible))

    def remove(self) -> None:
        """Takes the layer out of its scene; nothing happens if it is gone already."""
        self.scene.layers.pop(self.name, None)

    def change(self, **changes: Any) -> None:
        """Makes the layer anew with other data or looks: the arguments of the call that added it, by name.

        Raises:
            ValueError: an argument that this call has not, one that does not fit, or a layer that was removed.
        """
        self._check_present()
        unknown = sorted(set(changes) - set(self._arguments))
        if unknown:
            raise ValueError(f"{self.name}: cannot change {unknown[0]!r}; there are {', '.join(self._arguments)}")
        arguments = {**self._arguments, **changes}
        layer = self._build(**arguments)
        self.scene.layers[self.name] = layer.shown(self.visible)
        self._arguments = arguments

    def _check_present(self) -> None:
        if self.name not in self.scene.layers:
            raise ValueError(f"{self.name} was removed from its scene; add it again")
