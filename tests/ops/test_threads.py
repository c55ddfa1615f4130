"""Work that is shared out over threads is done once, all of it, and by no more threads than torch has."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from geo3d.ops.cpu.threads import run_ranges


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("items", "grain"), [(0, 1), (1, 1), (7, 1), (100, 40), (1000, 1), (5, 100)])
def test_every_item_once(items, grain, threads):
    done, workers = np.zeros(items, np.int64), set()

    def kernel(done, first, last):
        workers.add(threading.get_ident())
        done[first:last] += 1

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        run_ranges(kernel, items, done, grain=grain)
    finally:
        torch.set_num_threads(before)
    assert (done == 1).all()
    assert len(workers) <= threads


def test_an_error_in_a_thread_is_raised():
    def kernel(first, last):
        raise RuntimeError(f"at {first}")

    with pytest.raises(RuntimeError, match="at "):
        run_ranges(kernel, 100)
