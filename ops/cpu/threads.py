"""Runs compiled kernels on several threads.

The kernels are compiled with `nogil=True` and work on a range of items, so plain Python threads run them side by side. Numba's own
`parallel=True` is not used: it compiles several times longer, and its OpenMP pool ends a forked data-loader worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import torch

RANGES = 4  # for each thread

_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process, threads, pool): threads do not survive a fork


def run_ranges(kernel: Callable[..., None], items: int, *arguments: object, grain: int = 1) -> None:
    """Call `kernel(*arguments, begin, end)` over [0, items), cut into ranges that `torch.get_num_threads()` threads take in turn.

    There are more ranges than threads, so that a thread whose processor is busy with something else takes fewer of them.

    Args:
        kernel: a compiled function without result; ranges must not write the same memory, and where they are cut must not matter.
        items: number of items.
        grain: fewest items that are worth a thread.
    """
    threads = min(torch.get_num_threads(), items // max(grain, 1))
    if threads <= 1:
        kernel(*arguments, 0, items)
        return
    ranges = min(RANGES * threads, items // max(grain, 1))
    free = count()  # each range is taken once: next() on it is atomic

    def work() -> None:
        while (part := next(free)) < ranges:
            kernel(*arguments, items * part // ranges, items * (part + 1) // ranges)

    others = [_threads(threads).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()


def _threads(wanted: int) -> ThreadPoolExecutor:
    global _pool
    if _pool is None or _pool[0] != os.getpid() or _pool[1] < wanted:
        _pool = (os.getpid(), wanted, ThreadPoolExecutor(wanted, thread_name_prefix="geo3d"))
    return _pool[2]
