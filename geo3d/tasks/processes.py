"""Evaluation by several processes, whose shares of the items may differ by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geo3d.data.loading import this_process


def gathered(mine: Any) -> list[Any]:
    """What every process has, by its number; all of them must call."""
    count = this_process()[1]
    if count == 1:
        return [mine]
    each: list[Any] = [None] * count
    distributed.all_gather_object(each, mine)
    return each


def merged(sums: Mapping[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """Sums and counts by name, over all processes."""
    total: dict[str, tuple[float, int]] = {}
    for each in gathered(dict(sums)):
        for name, (value, count) in each.items():
            before = total.get(name, (0.0, 0))
            total[name] = (before[0] + value, before[1] + count)
    return total


def in_order(mine: Sequence[Any]) -> list[Any]:
    """Results by item in the order of the data, from processes that evaluated every n-th of them (`geo3d.data.loading.ShareSampler`)."""
    each = gathered(list(mine))
    return [results[row] for row in range(max(map(len, each))) for results in each if row < len(results)]


def evaluating_alone(wrapped: Any, network: nn.Module, on: bool) -> None:
    """Let the processes of a training evaluate without waiting for each other at every batch, of which one of them may have more.

    Distributed training copies the buffers (the norms' statistics) of the first process to the others before every batch, those of an
    evaluation included. Here that happens once, before the first one.
    """
    if not isinstance(wrapped, DistributedDataParallel):
        return
    if on:
        for buffer in network.buffers():
            distributed.broadcast(buffer, 0)
    wrapped.require_forward_param_sync = not on
