"""Which checkpoint a training resumes from, and whether it still is that training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from geo3d.zoo.yaml_files import read_yaml

# What may change between the parts of a training: it alters neither its data nor its steps.
FREE = ("data.init_args.num_workers", "data.init_args.pin_memory", "data.init_args.root", "data.init_args.test_batch_size")


def checkpoint_to_resume(wanted: str | None, folder: Path) -> str | None:
    """The checkpoint that `--resume` names; None without one.

    Raises:
        FileNotFoundError: no such file.
    """
    if wanted is None:
        return None
    path = folder / "checkpoints" / "last.ckpt" if wanted == "last" else Path(wanted)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path} to resume from")
    return str(path)


class Restarts:
    """Restarts of a training's processes by torchrun (`--max-restarts`), which go on from the last checkpoint of the first start.

    Args:
        folder: of the run, which a file marks as begun by this torchrun.
    """

    def __init__(self, folder: Path) -> None:
        self.mark = folder / ".restarts"
        self.is_first = os.environ.get("RANK", "0") == "0"
        if self.is_first and self._count() == 0:
            self.mark.unlink(missing_ok=True)  # of an earlier run

    def _count(self) -> int:
        return restart_count()

    @property
    def is_restart(self) -> bool:
        """Whether a former start in this folder had begun; one that was refused is refused again."""
        return self._count() > 0 and self.mark.exists()

    def begin(self) -> None:
        """To be called when the arguments have been found good."""
        if self.is_first and "TORCHELASTIC_RESTART_COUNT" in os.environ:
            self.mark.parent.mkdir(parents=True, exist_ok=True)
            self.mark.touch()

    def end(self) -> None:
        """To be called when the training is complete."""
        if self.is_first:
            self.mark.unlink(missing_ok=True)


def restart_count() -> int:
    """How often torchrun has started these processes again; 0 at the first start and without torchrun."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0)


def store_of_restart() -> Any:
    """Let the processes of a restart by torchrun on one machine meet in a store of their own; to be called by all of them, before they do.

    PyTorch (2.14) gives them the store of the former start, with the addresses of processes that have ended: whoever comes before the
    others reads them and ends with "Connection refused". Several machines count their restarts apart, so they keep PyTorch's store.

    Returns:
        The store, which the caller keeps until the processes have met; None where this is no restart.
    """
    on_one_machine = os.environ.get("GROUP_WORLD_SIZE") == "1" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if restart_count() == 0 or not on_one_machine:
        return None
    from torch.distributed import TCPStore

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    waiting = timedelta(minutes=30)  # as long as PyTorch waits for a process
    torchruns = TCPStore(address, port, is_master=False, timeout=waiting)
    key, own = f"geo3d/port-of-restart-{restart_count()}", None
    if os.environ["RANK"] == "0":
        own = TCPStore(address, 0, is_master=True, multi_tenant=True, wait_for_workers=False, timeout=waiting)
        torchruns.set(key, str(own.port))
    os.environ["MASTER_PORT"] = torchruns.get(key).decode()  # waits for it
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    return own


def check_is_free(folder: Path) -> None:
    """Raises FileExistsError where a folder holds a training or its results."""
    if (folder / "checkpoints" / "last.ckpt").exists():
        raise FileExistsError(
            f"{folder} holds a training; resume it with --resume last, or choose another --name, or --overwrite"
        )
    for name in ("weights.safetensors", "checkpoints/best.ckpt", "config.yaml"):
        if (folder / name).exists():
            raise FileExistsError(f"{folder} holds the {name} of a training; choose another --name, or --overwrite")


def check_same_settings(checkpoint: str | Path, settings: dict[str, Any]) -> None:
    """Check that the task and the data are those that a checkpoint was trained with, as far as its run's config.yaml tells.

    Raises:
        ValueError: another value; the message names its key and both values.
    """
    path = Path(checkpoint).parent.parent / "config.yaml"
    if not path.is_file():
        return
    before = read_yaml(path)
    old = dict(_flat({key: before.get(key) for key in ("model", "data")}))
    new = dict(_flat({key: settings.get(key) for key in ("model", "data")}))
    for key in sorted(set(old) | set(new)):
        if key not in FREE and old.get(key) != new.get(key):
            raise ValueError(
                f"--{key} is {new.get(key)}, but this training has {old.get(key)} ({path}); a resumed training keeps its "
                "settings, and --weights starts another from its weights"
            )


def _flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree
