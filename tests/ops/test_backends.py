"""The table of implementations names every op, and what it says is so."""

from __future__ import annotations

import pytest
import torch

from geo3d import ops

NO_OPS = {"backends", "grid_shape"}  # functions that run no kernel


def test_every_op_is_listed_on_both_devices():
    functions = {name for name in ops.__all__ if callable(getattr(ops, name)) and not isinstance(getattr(ops, name), type)}
    listed = [(row.op, row.device) for row in ops.backends()]
    assert sorted(listed) == sorted((name, device) for name in functions - NO_OPS for device in ("cpu", "cuda"))


def test_reasons_are_one_line():
    assert all(row.reason and "\n" not in row.reason for row in ops.backends())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_nothing_runs_there():
    assert {row.implementation for row in ops.backends() if row.device == "cuda"} == {"none"}


def test_thread_count_is_that_of_torch():
    assert f"{torch.get_num_threads()} threads" in ops.backends()[0].reason


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
def test_torch_scatter_gives_the_same(reduce):
    torch_scatter = pytest.importorskip("torch_scatter", reason="torch-scatter is an optional peer: pip install torch-scatter")
    values, index = torch.randn(500, 7), torch.randint(0, 40, (500,))
    ours = getattr(ops, f"scatter_{reduce}")(values, index, 60)
    theirs = torch_scatter.scatter(values, index, 0, dim_size=60, reduce=reduce)
    torch.testing.assert_close(ours if reduce in ("sum", "mean") else ours[0], theirs)


@pytest.mark.parametrize("name", ["softmax", "logsumexp"])
def test_torch_scatter_gives_the_same_exponentials(name):
    torch_scatter = pytest.importorskip("torch_scatter", reason="torch-scatter is an optional peer: pip install torch-scatter")
    values, index = torch.randn(500, 7), torch.randint(0, 40, (500,))
    rows = int(index.max()) + 1
    ours = getattr(ops, f"scatter_{name}")(values, index, rows)
    torch.testing.assert_close(ours, getattr(torch_scatter, f"scatter_{name}")(values, index, 0))
