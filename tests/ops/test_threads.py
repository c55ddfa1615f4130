"""Work that is shared out over threads is done once, all of it, and by no more threads than torch has."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from geo3d import ops
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


@pytest.mark.parametrize("clouds", [1, 2])
def test_threads_that_share_a_tree_find_the_same(clouds):
    """With more threads than clouds a large cloud's tree is built by several of them."""
    points = torch.randn(clouds, 25_000, 3, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append((ops.knn(points, points, 4), ops.farthest_point_sample(points, 50)))
    finally:
        torch.set_num_threads(before)
    (near, far), (near_shared, far_shared) = found
    assert torch.equal(near.indices, near_shared.indices)
    assert torch.equal(near.squared_distances, near_shared.squared_distances)
    assert torch.equal(far, far_shared)
