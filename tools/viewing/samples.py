"""What can be looked at: named samples whose scenes are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import overload

from geo3d.tools.viewing.centering import centered
from geo3d.tools.viewing.predictions import Predictions
from geo3d.viz import Scene, View


@dataclass(frozen=True)
class Options:
    """How to read and draw.

    Attributes:
        up: the axis that points up, or None to guess by the kind of file.
        columns: of tables the numbers a point or their names, or None to guess.
        predictions: boxes to lay over sweeps.
        min_score: predicted boxes below are left out; None for what the detector looked for, and 0.3 where that is not known.
    """

    up: str | None = None
    columns: int | str | None = None
    predictions: Predictions | None = None
    min_score: float | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A scene and the views that a picture of it has; windows, pages and videos begin with the one of number `first`."""

    scene: Scene
    views: tuple[str | View, ...] = ("corner",)
    first: int = 0

    @property
    def view(self) -> str | View:
        """Where a window begins."""
        return self.views[self.first]


@dataclass(frozen=True)
class Samples:
    """Samples of one kind: their names, and how the one of a number is made.

    `steady` says that they share a frame of reference, as the sweeps of a drive do; others are unrelated things.
    """

    kind: str
    names: tuple[str, ...]
    make: Callable[[int], Sample]
    steady: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.make(range(len(self))[index])

    def from_index(self, first: int) -> Samples:
        """The same samples, turned so that one of them comes first."""
        count = len(self)
        names = self.names[first:] + self.names[:first]
        return replace(self, names=names, make=lambda index: self.make((index + first) % count))


def joined(parts: Sequence[Samples]) -> Samples:
    """Samples one after another."""
    if len(parts) == 1:
        return parts[0]
    places = [(part, index) for part in parts for index in range(len(part))]
    kinds = list(dict.fromkeys(part.kind for part in parts))

    def make(index: int) -> Sample:
        part, row = places[index]
        return part[row]

    names = tuple(name for part in parts for name in part.names)
    return Samples(", ".join(kinds), names, make, all(part.steady for part in parts))


class Scenes(Sequence[Scene]):
    """The scenes of samples, each made when it is asked for and then forgotten; unrelated ones at one place and size."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Scene: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Scene]: ...

    def __getitem__(self, index: int | slice) -> Scene | Sequence[Scene]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        scene = self._samples[index].scene
        return scene if self._samples.steady or len(self) == 1 else centered(scene)
