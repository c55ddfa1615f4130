"""How generated data gets onto the disk: whole or not at all, by several processes, in splits that have something in them."""

from __future__ import annotations

import glob
import multiprocessing
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A folder beside `out` to write to, which takes the place of `out` in the end; an error leaves nothing.

    Args:
        out: must not exist, or be an empty folder.

    Raises:
        FileExistsError: `out` holds something.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not an empty folder; choose another, nothing was written")
    with folder_beside(out) as temporary:
        yield temporary
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.rename(temporary, out)


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, which is deleted at the end, and by the next call for the same `out` if this process is killed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with _held(out.parent):  # so that no other process takes the new folder for one that was left
        # A folder is filled from one beside it, which has a name behind its name.
        for left in out.parent.glob(f".*{glob.escape(out.name)}-*"):
            if re.fullmatch(rf"\.+{re.escape(out.name)}(-[a-z0-9_]{{8}})+", left.name) and left.is_dir():
                with _held(left, wait=False) as is_mine:
                    if is_mine:
                        shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        hold = _held(temporary)
        hold.__enter__()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        hold.__exit__(None, None, None)


@contextmanager
def _held(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a folder until the end of the block or of this process; gives whether it is held, never where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield False
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # another process has just deleted it
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        is_held = True
    except OSError:  # held by another process, or a file system without locks
        is_held = False
    try:
        yield is_held
    finally:
        os.close(handle)


def split_of(number: int, size: int, num_categories: int) -> tuple[str, ...]:
    """Splits that object `number` of `size` is in, of objects that go through the categories in turn.

    Of each category a fifth is for testing and a tenth for validation. Where no category has five, that holds for all objects together,
    and fewer than five objects are in all three splits.
    """
    if size < 5:
        return ("train", "val", "test")
    place = number // num_categories if size > 4 * num_categories else number
    return ("test",) if place % 5 == 4 else ("val",) if place % 10 == 3 else ("train",)


def write_each(
    write: Callable[[int], Any], count: int, workers: int, *, title: str, unit: str, fewest: int, chunk: int
) -> list[Any]:
    """Call `write` with each number below `count`, with a progress bar, and return what it returns, in order.

    An error or an interruption ends it at once: work that has not begun is not done.

    Args:
        write: can be pickled.
        count: of the numbers.
        workers: processes; fewer than `fewest` numbers are done by this one.
        title, unit: of the progress bar.
        chunk: numbers that a process gets at a time.
    """
    bar = {"total": count, "desc": title, "unit": unit, "disable": None}
    if workers == 1 or count < fewest:
        return list(tqdm(map(write, range(count)), **bar))
    context = multiprocessing.get_context("spawn")  # a fork would copy threads that hold locks
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            return list(tqdm(pool.map(write, range(count), chunksize=chunk), **bar))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let this worker end when the process that started it does, however that ends: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
