"""Whole networks beside a plain peer: `geo3d benchmark model NAME`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from geo3d.tools.benchmarks import networks
from geo3d.tools.benchmarks.case import Case
from geo3d.tools.benchmarks.machine import Machine
from geo3d.tools.benchmarks.model_report import ModelReport, ModelRow
from geo3d.tools.benchmarks.timing import peak_memory, time_interleaved

PRECISIONS = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}
TOLERANCE = 1e-4  # of the largest value of the map that is compared
PEER = "plain PyTorch"


class Stopwatch:
    """Seconds of the parts of a run, without waiting for the device while it runs."""

    def __init__(self, device: torch.device):
        self.device = device
        self.marks: list[tuple[str, Any]] = [("", self._now())]

    def mark(self, name: str) -> None:
        """The part of that name ends here."""
        self.marks.append((name, self._now()))

    def parts(self) -> dict[str, float]:
        """Seconds by name; waits for the device. Parts of the same name are added up."""
        seconds: dict[str, float] = {}
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        for (_, begin), (name, end) in zip(self.marks, self.marks[1:], strict=False):
            taken = begin.elapsed_time(end) / 1e3 if self.device.type == "cuda" else end - begin
            seconds[name] = seconds.get(name, 0.0) + taken
        return seconds

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def models() -> list[str]:
    """Names of the models that are timed: the files of `networks`."""
    return sorted(module.name for module in pkgutil.iter_modules(networks.__path__))


def _network(name: str) -> Any:
    return importlib.import_module(f"{networks.__name__}.{name}")


def configurations(arguments: argparse.Namespace) -> list[Path]:
    """The configurations to measure.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: no such model, a configuration of something else, or nothing is selected.
    """
    from geo3d.zoo.configurations import config_path, info_of_config

    if arguments.name not in models():
        raise ValueError(f"benchmark model: expected one of {', '.join(models())}, got {arguments.name or 'none'}")
    network = _network(arguments.name)
    paths = [config_path(name) for name in ([arguments.config] if arguments.config else network.CONFIGS)]
    selected = [path for path in paths if arguments.select is None or path.stem.startswith(tuple(arguments.select))]
    if not selected:
        known = ", ".join(path.stem for path in paths)
        raise ValueError(f"--select {' '.join(arguments.select)}: no such configuration; there are {known}")
    if arguments.compile and "compiled" not in inspect.signature(network.make_cases).parameters:
        raise ValueError(f"--compile: the dense part of a detector is meant; {arguments.name} has none")
    for path in selected:
        if not (found := info_of_config(path).network).startswith(f"geo3d.models.{arguments.name}."):
            raise ValueError(f"{path}: expected the configuration of {arguments.name}, got one of {found}")
    return selected


def measure(arguments: argparse.Namespace, limits: Machine, device: torch.device, versions: dict[str, str]) -> ModelReport:
    """Time the configurations with the threads that torch has now.

    Raises:
        RuntimeError: the peer's result differs.
    """
    make_cases, options = _network(arguments.name).make_cases, {"compiled": True} if arguments.compile else {}
    rows = []
    with tqdm(configurations(arguments), unit=" networks", desc=f"{limits.threads} threads") as bar:
        for path in bar:
            bar.set_postfix_str(path.stem)
            for name, case in make_cases(path, device, **options).items():
                _check(name, case.ours, case.peer, device)
                rows.append(_row(name, case, device, arguments))
    return ModelReport(
        limits.name, limits.threads, limits.bandwidth / 1e9, limits.rate / 1e9, arguments.precision, versions, rows
    )


def _check(name: str, ours: Callable[..., Any], peer: Callable[..., Any], device: torch.device) -> None:
    """Compare in single precision."""
    with torch.inference_mode(), _exact_convolutions():
        mine, other = ours(_ignore)[0], peer(_ignore)[0]
    difference, largest = float((mine - other).abs().max()), float(mine.abs().max())
    if mine.shape != other.shape or not difference <= TOLERANCE * max(largest, 1e-6):
        raise RuntimeError(
            f"{name}: the result of {PEER} differs from ours by {difference:g} of {largest:g}; no time is reported"
        )


def _row(name: str, case: Case, device: torch.device, arguments: argparse.Namespace) -> ModelRow:
    dtype = PRECISIONS[arguments.precision]
    watches: dict[str, list[Stopwatch]] = {"ours": [], PEER: []}

    def timed(contender: str, call: Callable[..., Any]) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
                watch = Stopwatch(device)
                result = call(watch.mark)
            watches[contender].append(watch)
            return result

        return run

    calls = {"ours": timed("ours", case.ours), PEER: timed(PEER, case.peer)}
    timing = time_interleaved(calls, device, arguments.seconds, arguments.rounds)
    parts = {
        contender: _medians([watch.parts() for watch in found[2:]]) for contender, found in watches.items()
    }  # 2 are warm-up
    peak, peer_peak = (_mebibytes(peak_memory(call, device)) for call in calls.values())
    return ModelRow(
        name,
        case.title,
        1e3 * timing.seconds("ours"),
        1e3 * timing.seconds(PEER),
        timing.ratio(PEER, "ours"),
        peak,
        peer_peak,
        {part: (1e3 * seconds, 1e3 * parts[PEER][part]) for part, seconds in parts["ours"].items()},
    )


def _mebibytes(count: float | None) -> float | None:
    return None if count is None else count / 2**20


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(parts[name] for parts in rounds) for name in rounds[0]}


@contextlib.contextmanager
def _exact_convolutions() -> Iterator[None]:
    """On CUDA convolutions round their inputs to fewer bits by default, more than what is allowed between ours and the peer."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _ignore(part: str) -> None:
    pass
