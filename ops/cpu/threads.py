"""Runs compiled kernels on several threads.

The kernels are compiled with `nogil=True` and work on a range of items, so plain Python threads run them side by side. Numba's own
`parallel=True` is not used: it compiles several times longer, and its OpenMP pool ends a forked data-loader worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process, threads, pool): threads do not survive a fork


def run_ranges(kernel: Callable[..., None], items: int, *arguments: object, grain: int = 1) -> None:
    """Call `kernel(*arguments, begin, end)` over [0, items), cut into at most `torch.get_num_threads()` ranges.

    Args:
        kernel: a compiled function without result; ranges must not write the same memory.
        items: number of items.
        grain: fewest items that are worth a thread.
    """
    threads = min(torch.get_num_threads(), items // max(grain, 1))
    if threads <= 1:
        kernel(*arguments, 0, items)
        return
    bounds = [items * part // threads for part in range(threads + 1)]
    pool = _threads(threads)
    others = [pool.submit(kernel, *arguments, bounds[part], bounds[part + 1]) for part in range(1, threads)]
    kernel(*arguments, bounds[0], bounds[1])
    for other in others:
        other.result()


def _threads(count: int) -> ThreadPoolExecutor:
    global _pool
    if _pool is None or _pool[0] != os.getpid() or _pool[1] < count:
        _pool = (os.getpid(), count, ThreadPoolExecutor(count, thread_name_prefix="geo3d"))
    return _pool[2]
