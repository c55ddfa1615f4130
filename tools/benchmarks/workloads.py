"""The description of one workload, and what the files of workloads share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        op: name of the function of `geo3d.ops`, for `--select`.
        title: what is computed, with its size.
        ours: runs the op.
        peers: the same by other means, by name.
        num_bytes: memory that any implementation has to read or write, 0 if that is no limit.
        operations: floating point operations that any implementation has to do, 0 if that is no limit.
        agree: what is compared between ours and a peer before the clock starts: of both results it takes what must be the same.
            Peers that it does not name are not compared (other order of rows, other ties).
        limits: remarks on peers, by name: what they do not do.
    """

    op: str
    title: str
    ours: Callable[[], Any]
    peers: Mapping[str, Callable[[], Any]]
    num_bytes: float = 0
    operations: float = 0
    agree: Mapping[str, Callable[[Any], Tensor]] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Compare the results that can be compared.

        Raises:
            RuntimeError: a peer's result differs from ours.
        """
        ours = self.ours() if self.agree else None
        for name, pick in self.agree.items():
            if name not in self.peers or name == "ours":
                continue
            mine, other = self.agree.get("ours", pick)(ours), pick(self.peers[name]())
            if mine.shape != other.shape or not torch.allclose(mine.double(), other.double(), rtol=1e-3, atol=1e-3):
                raise RuntimeError(f"{self.title}: the result of {name} differs from ours; no time is reported")


def optional(name: str) -> Any | None:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: built for another torch
        return None


def backward(output: Callable[[], Tensor], inputs: list[Tensor], grad: Tensor) -> Callable[[], Any]:
    """Forward and backward in one call."""
    return lambda: torch.autograd.grad(output(), inputs, grad)


Workloads = Iterator[Workload]
