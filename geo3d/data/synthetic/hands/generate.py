"""Generated hands in FreiHAND's folders.

    training/rgb/00000000.jpg ...    training_K.json  training_xyz.json  training_verts.json  training_mano.json  training_scale.json
    evaluation/rgb/00000000.jpg ...  evaluation_K.json ...

There is one picture for each row of annotations, not four as in FreiHAND. Wide scenes, for detectors, come as

    training/rgb/00000000.jpg ...    training_hands.json: for each picture a list of {"side": "right", "keypoints": 21 pixels}
    evaluation/rgb/00000000.jpg ...  evaluation_hands.json
"""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.synthetic.hands.lens import jpeg
from geo3d.data.synthetic.hands.scene import Materials, make_picture
from geo3d.data.synthetic.hands.wide import make_wide_picture
from geo3d.data.synthetic.writing import new_folder, write_each

EVALUATION_SHARE = 10  # one picture in so many is for evaluation
LISTS = ("K", "xyz", "verts", "mano", "scale")
WIDE_LISTS = ("hands",)
DECIMALS = {"K": 4, "xyz": 6, "verts": 6, "mano": 6, "scale": 6}
VERSION = 4  # raised when the same seed gives other pictures; part of the name of the cached data


def write_hands(
    out: str | Path,
    size: int,
    seed: int = 0,
    *,
    skins: str | Path | None = None,
    backgrounds: str | Path | None = None,
    evaluation_size: int | None = None,
    wide: bool = False,
    workers: int = 2,
) -> None:
    """Write pictures and labels; picture i depends on the seed and i alone, whatever the number of workers.

    Args:
        out: folder to write; it must not exist, or be empty. An interrupted run leaves nothing in it.
        size: number of pictures, those for evaluation included.
        seed: another seed gives other pictures.
        skins: folder of skins in anny's texture layout; None for procedural skin.
        backgrounds: folder of photographs for backgrounds and cloth; None for procedural ones.
        evaluation_size: how many are for evaluation; None for a tenth.
        wide: scenes with no, one or two hands of any size in place of pictures of one hand.
        workers: processes.

    Raises:
        FileExistsError: `out` holds something.
        FileNotFoundError: no such folder of skins or backgrounds.
        ValueError: sizes or workers below 1.
    """
    evaluation = max(1, size // EVALUATION_SHARE) if evaluation_size is None else evaluation_size
    if size < 2 or not 0 <= evaluation <= size or workers < 1:
        raise ValueError(
            f"write_hands: size must be at least 2, evaluation_size at most size and workers at least 1, got {size}, {evaluation} and {workers}"
        )
    sources = (_resolved(skins), _resolved(backgrounds))
    _materials(*sources)  # before anything is written: a wrong folder is told at once
    splits = {"training": size - evaluation, "evaluation": evaluation}
    with new_folder(out) as folder:
        for split in splits:
            (folder / split / "rgb").mkdir(parents=True)
        write = partial(
            _write_wide if wide else _write_picture, out=folder, seed=seed, training=splits["training"], sources=sources
        )
        rows = write_each(write, size, workers, title="hands", unit="picture", fewest=50, chunk=8)
        start = 0
        for split, count in splits.items():
            for name in WIDE_LISTS if wide else LISTS:
                (folder / f"{split}_{name}.json").write_text(json.dumps([row[name] for row in rows[start : start + count]]))
            start += count


def _resolved(folder: str | Path | None) -> str | None:
    return str(Path(folder).resolve()) if folder else None


@cache
def _materials(skins: str | None, backgrounds: str | None) -> Materials:
    return Materials.of(Path(skins) if skins else None, Path(backgrounds) if backgrounds else None)


def _write_picture(index: int, out: Path, seed: int, training: int, sources: tuple[str | None, str | None]) -> dict[str, Any]:
    picture = make_picture(seed, index, _materials(*sources))
    _write_image(out, index, training, picture.image, picture.quality)
    values = {"K": picture.K, "xyz": picture.xyz, "verts": picture.verts, "mano": picture.mano[None]}
    row: dict[str, Any] = {name: value.round(DECIMALS[name]).tolist() for name, value in values.items()}
    return {**row, "scale": round(picture.scale, DECIMALS["scale"])}


def _write_wide(index: int, out: Path, seed: int, training: int, sources: tuple[str | None, str | None]) -> dict[str, Any]:
    picture = make_wide_picture(seed, index, _materials(*sources))
    _write_image(out, index, training, picture.image, picture.quality)
    found = zip(picture.sides, picture.keypoints, strict=True)
    return {"hands": [{"side": side, "keypoints": keypoints.round(2).tolist()} for side, keypoints in found]}


def _write_image(out: Path, index: int, training: int, image: np.ndarray, quality: int) -> None:
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores
    split, number = ("training", index) if index < training else ("evaluation", index - training)
    (out / split / "rgb" / f"{number:08d}.jpg").write_bytes(jpeg(image, quality))
