"""Large results lie in memory of huge pages; whoever gets them must not notice."""

from __future__ import annotations

import pytest
import torch

from geo3d import ops
from geo3d.ops.cpu.memory import LARGE, empty


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32])
@pytest.mark.parametrize("rows", [0, 3, LARGE // 8])
def test_is_as_any_tensor(dtype, rows):
    made = empty((rows, 5), dtype)
    assert made.shape == (rows, 5) and made.dtype == dtype and made.is_contiguous()
    made[:] = 3
    grown = torch.cat([made, made]).sum(dtype=torch.float64)
    assert float(grown) == 30 * rows
    assert made.clone().resize_(rows, 5).shape == (rows, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_results_equal_small_ones(dtype):
    """The same rows in one call and in pieces: above and below the size from which the memory differs."""
    values = torch.randn(2 * LARGE // 64, 16).to(dtype)
    index = torch.arange(len(values)) // 2
    rows = len(values) // 2
    whole = ops.scatter_sum(values, index, rows), ops.scatter_max(values, index, rows)[0], ops.gather(values, index)
    assert whole[2].numel() * values.element_size() >= LARGE
    for begin in (0, rows - 4):
        part, picked = values[2 * begin : 2 * begin + 8], slice(begin, begin + 4)
        local = index[2 * begin : 2 * begin + 8] - begin
        assert torch.equal(whole[0][picked], ops.scatter_sum(part, local, 4))
        assert torch.equal(whole[1][picked], ops.scatter_max(part, local, 4)[0])
    assert torch.equal(whole[2], values[index])
