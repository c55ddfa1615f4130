"""Memory for large results on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

LARGE = 4 * 2**20  # bytes from which numpy asks for huge pages


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor without set values, like `torch.empty`, for results that are written once.

    Memory that is fresh from the system costs a page fault for every 4 KiB, which takes several times as long as filling it. numpy asks
    for pages of 2 MiB (`madvise`, on Linux), and torch does not.
    """
    num_bytes = prod(shape) * dtype.itemsize
    if num_bytes < LARGE:
        return torch.empty(tuple(shape), dtype=dtype)
    return torch.from_numpy(np.empty(num_bytes, np.uint8)).view(dtype).view(tuple(shape))
