"""A network to time, and its peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Mark = Callable[[str], None]  # called with the name of each part at its end


@dataclass(frozen=True)
class Case:
    """A network on an input; both calls give first what is compared, a tensor."""

    title: str
    ours: Callable[[Mark], Any]
    peer: Callable[[Mark], Any]
