"""Interleaved timing: every round runs each candidate once, in a new order, so that a slow moment of the machine hits all alike."""

from __future__ import annotations

import ctypes
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

FEW = 3  # rounds of a candidate that takes many times as long as the fastest one


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, by candidate, NaN for a round without it; those of one round ran one after another."""

    rounds: dict[str, list[float]]

    def seconds(self, name: str) -> float:
        """Median over the rounds."""
        return median(value for value in self.rounds[name] if value == value)

    def ratio(self, name: str, base: str) -> float:
        """Time of `name` over that of `base`: the median of the rounds' own ratios."""
        pairs = zip(self.rounds[name], self.rounds[base], strict=True)
        return median(a / b for a, b in pairs if a == a and b == b)


def time_interleaved(candidates: dict[str, Callable[[], Any]], device: torch.device, seconds: float, rounds: int) -> Timing:
    """Run the candidates in turn.

    Args:
        candidates: what to time, by name; each is called twice before the clock starts.
        device: whose queue to wait for.
        seconds: stop after this time, but not before three rounds. Candidates that take ten times as long as the fastest run in
            three rounds only, so that they do not use up the time of the others.
        rounds: stop after this many.
    """
    for call in candidates.values():
        _timed(call, device)
    warm = {name: _timed(call, device) for name, call in candidates.items()}
    slow = {name for name, taken in warm.items() if taken > 10 * min(warm.values())}
    order = random.Random(0)
    names = list(candidates)
    result: dict[str, list[float]] = {name: [] for name in names}
    begin = time.perf_counter()
    for done in range(rounds):
        if done >= FEW and time.perf_counter() - begin > seconds:
            break
        order.shuffle(names)
        for name in names:
            skipped = name in slow and done >= FEW
            result[name].append(math.nan if skipped else _timed(candidates[name], device))
    return Timing(result)


def peak_memory(call: Callable[[], Any], device: torch.device) -> float | None:
    """Bytes that the call takes at most, its result included; None where the system does not tell."""
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else memory that was freed but kept would hide what the call takes
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts again from the present size
        before = _status("VmRSS")
        call()
        return float(_status("VmHWM") - before)
    except OSError:
        return None


def _status(key: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


def _timed(call: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    begin = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
