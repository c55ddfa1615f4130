"""How generated data gets onto the disk: whole or not at all, by several processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
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
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            return list(tqdm(pool.map(write, range(count), chunksize=chunk), **bar))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
