"""Generated data in the user's cache folder, made on first use."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geo3d.data.cache import cache_folder

GENERATED = "generated"  # the value of `root` that asks for generated data


@dataclass(frozen=True)
class GeneratedShapes:
    """What to generate.

    Attributes:
        size: number of shapes, training and test together.
        seed: another seed gives other shapes.
        num_points: points of each file.
    """

    size: int = 2000
    seed: int = 0
    num_points: int = 2048


@dataclass(frozen=True)
class GeneratedStreets:
    """What to generate.

    Attributes:
        size: number of frames, a fifth of them for validation.
        seed: another seed gives other streets.
    """

    size: int = 500
    seed: int = 0


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


def resolve_shapes_root(name: str, root: str, generate: GeneratedShapes | None, native_folder: str) -> Path:
    """The folder of the data: `root`, or for "generated" one in the cache folder, which is written when it is not there.

    Args:
        name: of the caller, for its messages.
        root: a folder, or "generated".
        generate: what to generate; only with root "generated".
        native_folder: the folder of the format wanted among those that are generated.

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
    wanted = generate or GeneratedShapes()
    from geo3d.data.synthetic.shapes.generate import VERSION, write_shapes

    folder = f"shapes-v{VERSION}-{wanted.size}-{wanted.seed}-{wanted.num_points}"

    def write(out: Path) -> None:
        write_shapes(out, wanted.size, wanted.seed, num_points=wanted.num_points)

    return _made_once(cache_folder() / GENERATED / folder, write) / native_folder


def resolve_streets_root(name: str, root: str, generate: GeneratedStreets | None) -> Path:
    """The folder of the data in KITTI's format: `root`, or for "generated" one in the cache folder, written when it is not there.

    Args:
        name: of the caller, for its messages.
        root: a folder, or "generated".
        generate: what to generate; only with root "generated".

    Raises:
        ValueError: `generate` beside a folder.
    """
    if root != GENERATED:
        if generate is not None:
            raise ValueError(f"{name}: generate goes with root 'generated', got root {root!r}")
        return Path(root)
    wanted = generate or GeneratedStreets()
    from geo3d.data.synthetic.streets.generate import VERSION, write_streets

    folder = f"streets-v{VERSION}-{wanted.size}-{wanted.seed}"
    return _made_once(cache_folder() / GENERATED / folder, lambda out: write_streets(out, wanted.size, wanted.seed))


def resolve_renders_root(name: str, root: str, generate: GeneratedRenders | None) -> Path:
    """The folder of the data as 3D-R2N2 has it: `root`, or for "generated" one in the cache folder, written when it is not there.

    Args:
        name: of the caller, for its messages.
        root: a folder, or "generated".
        generate: what to generate; only with root "generated".

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
    wanted = generate or GeneratedRenders()
    from geo3d.data.synthetic.renders.generate import VERSION, write_renders

    folder = f"renders-v{VERSION}-{wanted.size}-{wanted.seed}-{wanted.views}-{wanted.side}"

    def write(out: Path) -> None:
        write_renders(out, wanted.size, wanted.seed, views=wanted.views, side=wanted.side, workers=wanted.workers)

    return _made_once(cache_folder() / GENERATED / folder, write)


def resolve_hands_root(name: str, root: str, generate: GeneratedHands | None) -> Path:
    """The folder of the data in FreiHAND's format: `root`, or for "generated" one in the cache folder, written when it is not there.

    Args:
        name: of the caller, for its messages.
        root: a folder, or "generated".
        generate: what to generate; only with root "generated".

    Raises:
        ValueError: `generate` beside a folder.
        FileNotFoundError: no such folder of data, skins or backgrounds.
    """
    if root != GENERATED:
        if generate is not None:
            raise ValueError(f"{name}: generate goes with root 'generated', got root {root!r}")
        if not Path(root).is_dir():
            raise FileNotFoundError(f"{name}: no folder {root}; root is the folder of the data, or 'generated'")
        return Path(root)
    wanted = generate or GeneratedHands()
    from geo3d.data.synthetic.hands.generate import VERSION, write_hands

    folders = [Path(folder).resolve() if folder else None for folder in (wanted.skins, wanted.backgrounds)]
    digest = hashlib.sha256(repr(folders).encode()).hexdigest()[:8] if any(folders) else "procedural"
    folder = f"hands-v{VERSION}-{wanted.size}-{wanted.seed}-{digest}"

    def write(out: Path) -> None:
        write_hands(out, wanted.size, wanted.seed, skins=folders[0], backgrounds=folders[1], workers=wanted.workers)

    return _made_once(cache_folder() / GENERATED / folder, write)


def _made_once(out: Path, write: Callable[[Path], None]) -> Path:
    if out.is_dir():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and then renamed: an interrupted run leaves nothing that looks complete.
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write(temporary)
        temporary.chmod(0o755)
        try:
            os.rename(temporary, out)
        except OSError:
            if not out.is_dir():  # otherwise another process was first, with the same files
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out
