"""The ops beside their installed peers: `geo3d benchmark ops`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import torch
from tqdm import tqdm

from geo3d.tools.benchmarks.machine import Machine
from geo3d.tools.benchmarks.report import Report, Row
from geo3d.tools.benchmarks.timing import peak_memory, time_interleaved
from geo3d.tools.benchmarks.workloads import Workload

FILES = ("scatter", "voxels", "search", "boxes", "sparse_conv", "attention", "kernel_points")  # of workloads


def measure(arguments: argparse.Namespace, limits: Machine, device: torch.device, versions: dict[str, str]) -> Report:
    """Time the selected workloads with the threads that torch has now.

    Raises:
        RuntimeError: a peer's result differs.
    """
    rows = []
    with tqdm(_workloads(arguments.select, device), unit=" workloads", desc=f"{limits.threads} threads") as bar:
        for workload in bar:
            bar.set_postfix_str(workload.title[:60])
            rows.append(_row(workload, limits, device, arguments))
    return Report(limits.name, limits.threads, limits.bandwidth / 1e9, limits.rate / 1e9, versions, rows)


def _workloads(select: Sequence[str] | None, device: torch.device) -> Iterator[Workload]:
    for file in files_of(select):
        yield from (workload for workload in file.workloads(device) if _is_selected(workload.op, select))


def files_of(select: Sequence[str] | None) -> list[ModuleType]:
    """The modules that hold workloads of the selected ops.

    Raises:
        ValueError: no such op.
    """
    files = [importlib.import_module(f"geo3d.tools.benchmarks.{name}") for name in FILES]
    selected = [file for file in files if any(_is_selected(op, select) for op in file.OPS)]
    if not selected:
        known = ", ".join(op for file in files for op in file.OPS)
        raise ValueError(f"--select {' '.join(select or [])}: no workload of such an op; there are {known}")
    return selected


def _is_selected(op: str, select: Sequence[str] | None) -> bool:
    return select is None or any(op.startswith(start) for start in select)


def _row(workload: Workload, limits: Machine, device: torch.device, arguments: argparse.Namespace) -> Row:
    workload.check()
    candidates: dict[str, Callable] = {"ours": workload.ours, **workload.peers}
    if limits.threads > 1 and device.type == "cpu":
        candidates["single"] = _with_one_thread(workload.ours)
    timing = time_interleaved(candidates, device, arguments.seconds, arguments.rounds)
    peak = peak_memory(workload.ours, device)
    floor = limits.floor(workload.num_bytes, workload.operations)
    return Row(
        workload.op,
        workload.title,
        limits.threads,
        1e3 * timing.seconds("ours"),
        1e3 * floor or None,
        1e3 * timing.seconds("single") if "single" in candidates else None,
        {name: (1e3 * timing.seconds(name), timing.ratio(name, "ours")) for name in workload.peers},
        None if peak is None else peak / 2**20,
    )


def _with_one_thread(call: Callable) -> Callable:
    def alone():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return call()
        finally:
            torch.set_num_threads(threads)

    return alone
