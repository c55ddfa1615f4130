"""Generated hands in FreiHAND's folders.

    training/rgb/00000000.jpg ...    training_K.json  training_xyz.json  training_verts.json  training_mano.json  training_scale.json
    evaluation/rgb/00000000.jpg ...  evaluation_K.json ...

There is one picture for each row of annotations, not four as in FreiHAND.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from geo3d.data.synthetic.hands.lens import jpeg
from geo3d.data.synthetic.hands.scene import Materials, make_picture

EVALUATION_SHARE = 10  # one picture in so many is for evaluation
LISTS = ("K", "xyz", "verts", "mano", "scale")
DECIMALS = {"K": 4, "xyz": 6, "verts": 6, "mano": 6, "scale": 6}
VERSION = 2  # raised when the same seed gives other pictures; part of the name of the cached data

_materials: Materials | None = None  # of a worker process


def write_hands(
    out: Path,
    size: int,
    seed: int = 0,
    *,
    skins: Path | None = None,
    backgrounds: Path | None = None,
    evaluation_size: int | None = None,
    workers: int = 2,
    progress: bool = True,
) -> None:
    """Write pictures and labels; the same for the same arguments, whatever the number of workers.

    Args:
        out: folder, which must be empty or not exist; nothing is left in it when writing is interrupted.
        size: number of pictures, those for evaluation included.
        seed: another seed gives other pictures.
        skins: folder of skins in anny's texture layout; None for procedural skin.
        backgrounds: folder of photographs for backgrounds and cloth; None for procedural ones.
        evaluation_size: how many are for evaluation; None for a tenth.
        workers: processes.
        progress: show a bar.

    Raises:
        ValueError: sizes below 1, or a folder that holds something.
        FileNotFoundError: no such folder of skins or backgrounds.
    """
    evaluation = max(1, size // EVALUATION_SHARE) if evaluation_size is None else evaluation_size
    if size < 2 or not 0 <= evaluation <= size:
        raise ValueError(f"write_hands: size must be at least 2 and evaluation_size at most size, got {size} and {evaluation}")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"write_hands: {out} is not empty")
    Materials.of(skins, backgrounds)  # before anything is written: a wrong folder is told at once
    out.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=out))
    try:
        _write(temporary, size, evaluation, seed, skins, backgrounds, workers, progress)
        for path in sorted(temporary.iterdir()):
            os.rename(path, out / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(
    out: Path, size: int, evaluation: int, seed: int, skins: Path | None, backgrounds: Path | None, workers: int, progress: bool
) -> None:
    for split in ("training", "evaluation"):
        (out / split / "rgb").mkdir(parents=True)
    rows: dict[str, list[dict[str, Any]]] = {"training": [], "evaluation": []}
    work = partial(_make_one, out, seed, size - evaluation)
    context = multiprocessing.get_context("spawn")  # forking after torch or numba started threads can hang
    with ProcessPoolExecutor(max(1, workers), context, _start, (skins, backgrounds)) as pool:
        made = pool.map(work, range(size), chunksize=8)
        for split, row in tqdm(made, total=size, desc="hands", unit="picture", disable=not progress):
            rows[split].append(row)
    for split, entries in rows.items():
        for name in LISTS:
            (out / f"{split}_{name}.json").write_text(json.dumps([entry[name] for entry in entries]))


def _start(skins: Path | None, backgrounds: Path | None) -> None:
    global _materials
    import cv2

    cv2.setNumThreads(1)
    _materials = Materials.of(skins, backgrounds)


def _make_one(out: Path, seed: int, training: int, index: int) -> tuple[str, dict[str, Any]]:
    assert _materials is not None
    picture = make_picture(seed, index, _materials)
    split, number = ("training", index) if index < training else ("evaluation", index - training)
    (out / split / "rgb" / f"{number:08d}.jpg").write_bytes(jpeg(picture.image, picture.quality))
    values = {"K": picture.K, "xyz": picture.xyz, "verts": picture.verts, "mano": picture.mano[None]}
    row: dict[str, Any] = {name: value.round(DECIMALS[name]).tolist() for name, value in values.items()}
    return split, {**row, "scale": round(picture.scale, DECIMALS["scale"])}
