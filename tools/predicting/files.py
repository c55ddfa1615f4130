"""Files that `geo3d predict` writes: their names, and what must hold before any is written."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def output_files(
    arguments: argparse.Namespace, ending: str, name: Callable[[Path], str] = lambda path: path.stem
) -> list[Path]:
    """The file in `--out` for each of `arguments.files`, called after it by `name`, with an ending such as "_parts.ply"."""
    return [arguments.out / f"{name(path)}{ending}" for path in arguments.files]


def picture_files(arguments: argparse.Namespace, name: Callable[[Path], str]) -> list[Path | None]:
    """The picture of each file: the one of `--save`, or with the file's name behind where there are several."""
    save: Path | None = arguments.save
    if save is None or len(arguments.files) == 1:
        return [save] * len(arguments.files)
    return [save.with_name(f"{save.stem}_{name(path)}{save.suffix}") for path in arguments.files]


def check_files(arguments: argparse.Namespace, outputs: Sequence[Path]) -> None:
    """Check files to read and to write, before the work.

    Args:
        arguments: with `files`, `json`, `out` and `overwrite`.
        outputs: files to write beside `json`.

    Raises:
        FileNotFoundError: a file to read, or the folder of one to write.
        FileExistsError: a file to write is there, and is not to be replaced.
        ValueError: one file for two results, or for a result and to read.
    """
    missing = [path for path in arguments.files if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise FileExistsError(f"--out {arguments.out}: expected a folder, it is a file")
    planned = [*outputs, *([] if arguments.json is None else [arguments.json])]
    places = [path.resolve() for path in planned]
    sources = {path.resolve() for path in arguments.files}
    for path, place in zip(planned, places, strict=True):
        if place in sources:
            raise ValueError(f"{path} is read and would be written too; choose another name or --out")
        if places.count(place) > 1:
            reason = (
                f"two results would write {path}" if path != arguments.json else f"--json {path} is another result's file too"
            )
            raise ValueError(f"{reason}; choose another name, or run files of the same name apart, with another --out")
        if path.is_dir() or (path.exists() and not arguments.overwrite):
            raise FileExistsError(f"{path} exists; choose another name or --out, or --overwrite")
        if not path.parent.is_dir() and place.parent != arguments.out.resolve():
            raise FileNotFoundError(f"{path}: no folder {path.parent}")
