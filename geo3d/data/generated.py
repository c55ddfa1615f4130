"""Generated data in the user's cache folder, made on first use."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geo3d.data.cache import cache_folder

GENERATED = "generated"  # the value of `root` that asks for generated data


class Generated(Protocol):
    """A description of data to generate; the same description gives the same files."""

    def folder_name(self) -> str:
        """Name of the folder in the cache, another one for other files."""
        ...

    def write(self, out: Path) -> None:
        """Write the data into an empty folder."""
        ...


def resolve_root(name: str, root: str, generate: Generated | None, default: Generated, subfolder: str = "") -> Path:
    """The folder of the data: `root`, or for "generated" one in the cache folder, which is written when it is not there.

    Args:
        name: of the caller, for its messages.
        root: a folder, or "generated".
        generate: what to generate; only with root "generated".
        default: what to generate where `generate` is None.
        subfolder: of the generated data, with the format that is wanted.

    Raises:
        ValueError: `generate` beside a folder.
        FileNotFoundError: no such folder.
    """
    if root != GENERATED:
        if generate is not None:
            raise ValueError(f"{name}: generate goes with root 'generated', got root {root!r}")
        if not Path(root).is_dir():
            raise FileNotFoundError(f"{name}: no folder {root}; root is the folder of the data, or 'generated'")
        return Path(root)
    wanted = default if generate is None else generate
    return _made_once(cache_folder() / GENERATED / wanted.folder_name(), wanted) / subfolder


@dataclass(frozen=True)
class GeneratedShapes:
    """What to generate.

    Attributes:
        size: number of shapes, training and test together.
        seed: another seed gives other shapes.
        num_points: points of each file.
        version: of the objects, 1 or 2, see `geo3d.data.synthetic.shapes.generate.make_shape`.
    """

    size: int = 2000
    seed: int = 0
    num_points: int = 2048
    version: int = 1

    def folder_name(self) -> str:
        return f"shapes-v{self.version}-{self.size}-{self.seed}-{self.num_points}"

    def write(self, out: Path) -> None:
        from geo3d.data.synthetic.shapes.generate import write_shapes

        write_shapes(out, self.size, self.seed, num_points=self.num_points, version=self.version)


@dataclass(frozen=True)
class GeneratedStreets:
    """What to generate.

    Attributes:
        size: number of frames, a fifth of them for validation.
        seed: another seed gives other streets.
    """

    size: int = 500
    seed: int = 0

    def folder_name(self) -> str:
        from geo3d.data.synthetic.streets.generate import VERSION

        return f"streets-v{VERSION}-{self.size}-{self.seed}"

    def write(self, out: Path) -> None:
        from geo3d.data.synthetic.streets.generate import write_streets

        write_streets(out, self.size, self.seed)


@dataclass(frozen=True)
class GeneratedRenders:
    """What to generate.

    Attributes:
        size: number of objects, a fifth of them for testing and a tenth for validation.
        seed: another seed gives other objects.
        views: pictures of each object.
        side: voxels along a side.
        workers: processes that draw.
    """

    size: int = 2000
    seed: int = 0
    views: int = 24
    side: int = 32
    workers: int = 2

    def folder_name(self) -> str:
        from geo3d.data.synthetic.renders.generate import VERSION

        return f"renders-v{VERSION}-{self.size}-{self.seed}-{self.views}-{self.side}"

    def write(self, out: Path) -> None:
        from geo3d.data.synthetic.renders.generate import write_renders

        write_renders(out, self.size, self.seed, views=self.views, side=self.side, workers=self.workers)


@dataclass(frozen=True)
class GeneratedHands:
    """What to generate.

    Attributes:
        size: number of pictures, a tenth of them for evaluation.
        seed: another seed gives other pictures.
        skins: folder of skins in anny's texture layout; None for procedural skin.
        backgrounds: folder of photographs for backgrounds and cloth; None for procedural ones.
        workers: processes that write them.
    """

    size: int = 20_000
    seed: int = 0
    skins: str | None = None
    backgrounds: str | None = None
    workers: int = 2

    def folder_name(self) -> str:
        from geo3d.data.synthetic.hands.generate import VERSION

        folders = [Path(folder).resolve() if folder else None for folder in (self.skins, self.backgrounds)]
        digest = hashlib.sha256(repr(folders).encode()).hexdigest()[:8] if any(folders) else "procedural"
        return f"hands-v{VERSION}-{self.size}-{self.seed}-{digest}"

    def write(self, out: Path) -> None:
        from geo3d.data.synthetic.hands.generate import write_hands

        write_hands(out, self.size, self.seed, skins=self.skins, backgrounds=self.backgrounds, workers=self.workers)


@dataclass(frozen=True)
class GeneratedHandScenes(GeneratedHands):
    """Scenes with no, one or two hands, for detectors, from the same numbers and folders as `GeneratedHands`."""

    size: int = 10_000

    def folder_name(self) -> str:
        return f"scenes-of-{super().folder_name()}"

    def write(self, out: Path) -> None:
        from geo3d.data.synthetic.hands.generate import write_hands

        write_hands(out, self.size, self.seed, wide=True, workers=self.workers, skins=self.skins, backgrounds=self.backgrounds)


@dataclass(frozen=True)
class GeneratedBodies:
    """What to generate.

    Attributes:
        size: number of bodies, a tenth of them for validation and a fifth for testing.
        seed: another seed gives other bodies.
        frames: poses of each body.
        workers: processes that write them.
    """

    size: int = 2000
    seed: int = 0
    frames: int = 8
    workers: int = 2

    def folder_name(self) -> str:
        from geo3d.data.synthetic.bodies.generate import VERSION

        return f"bodies-v{VERSION}-{self.size}-{self.seed}-{self.frames}"

    def write(self, out: Path) -> None:
        from geo3d.data.synthetic.bodies.generate import write_bodies

        write_bodies(out, self.size, self.seed, frames=self.frames, workers=self.workers)


def _made_once(out: Path, wanted: Generated) -> Path:
    if out.is_dir():
        return out
    from geo3d.data.synthetic.writing import folder_beside

    # Written beside its place and then renamed: an interrupted run leaves nothing that looks complete.
    with folder_beside(out) as temporary:
        wanted.write(temporary)
        temporary.chmod(0o755)
        try:
            os.rename(temporary, out)
        except OSError:
            if not out.is_dir():  # otherwise another process was first, with the same files
                raise
    return out
