"""Checkpoints of trainings: a kill or a full disk costs the newest at most, and reading one runs no code that it carries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its target, syncs and renames it; of `last.ckpt` the one before stays as `last.previous.ckpt`.

    Args:
        trust: let a checkpoint that is read run the code it carries.
    """

    def __init__(self, trust: bool = False) -> None:
        super().__init__()
        self.trust = trust

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        try:
            with open(partial, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            partial.unlink(missing_ok=True)
            kept = f"; {path} is the one before" if path.exists() else ""
            raise OSError(f"{path}: the checkpoint cannot be written ({_first_line(error)}){kept}") from None
        if path.stem == "last" and path.exists():
            _keep(path, previous(path))
        os.replace(partial, path)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path, trust=self.trust)


def previous(path: Path) -> Path:
    """Where the checkpoint before `path` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def set_aside(folder: Path) -> None:
    """Rename the last checkpoint of a former training in a folder to `former.ckpt`, so that nothing resumes from it by mistake."""
    last = folder / "last.ckpt"
    if last.is_file():
        os.replace(last, folder / "former.ckpt")
        previous(last).unlink(missing_ok=True)


def read_checkpoint(path: str | Path, *, trust: bool = False) -> dict[str, Any]:
    """The content of a checkpoint, its tensors on the CPU.

    Args:
        path: a file that a training of geo3d wrote.
        trust: unpickle whatever the file holds. A file of someone else can then run any code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is cut off or damaged, or one that holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path} to resume from")
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # the unpickler raises whatever the bytes make it raise
        if "Unsupported" in str(error) or "unsafe" in str(error).lower():
            raise ValueError(
                f"{path}: expected tensors and plain values, got a checkpoint that runs code of its own when it is read; "
                "--trust-checkpoint lets it, if you know who wrote it"
            ) from None
        older = previous(path)
        way_out = f"; the one before is whole: --resume {older}" if older.is_file() else ""
        raise ValueError(
            f"{path}: expected a checkpoint, got one that cannot be read ({_first_line(error)}){way_out}"
        ) from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path}: expected a checkpoint of a training, got {type(content).__name__} without a state dict")
    return content


def _keep(path: Path, older: Path) -> None:
    """A second name for the file, so that there is no moment without it; a file system without links moves it."""
    older.unlink(missing_ok=True)
    try:
        os.link(path, older)
    except OSError:
        os.replace(path, older)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:150] if lines else type(error).__name__
