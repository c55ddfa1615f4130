"""Time the ops beside their installed peers: `geo3d benchmark ops [--select knn ...] [--threads 1 2]`.

Each workload runs warm, ours and every peer in turn within one run; the medians, their ratios, the machine's floor and the peak memory are
printed. Each thread count is a process of its own, which is held to as many processors, so that peers with thread pools of their own obey.

  geo3d benchmark ops --markdown docs/benchmarks.md --plot ops.png
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from geo3d.tools.benchmarks import report as reports
from geo3d.tools.errors import run_tool

FILES = ("scatter", "voxels", "search", "boxes", "sparse_conv", "attention")  # of workloads, in geo3d.tools.benchmarks
PEERS = (
    "torch",
    "numba",
    "torch-scatter",
    "torch-cluster",
    "spconv",
    "open3d",
    "fpsample",
    "scipy",
    "pykdtree",
    "small-gicp",
    "shapely",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    return run_tool(_benchmark, argv)


def _benchmark(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.inner:
        _measure(arguments).write(arguments.inner)
        return 0
    for path in (arguments.markdown, arguments.plot, arguments.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder {path.absolute().parent} for {path.name}")
    _files(arguments.select)  # a misspelt op is told before anything is measured
    results = [_in_a_process(arguments, threads) for threads in arguments.threads]
    text = reports.markdown(results)
    print(text)
    if arguments.json:
        results[-1].write(arguments.json)
    if arguments.markdown:
        reports.write_markdown(arguments.markdown, text, f"ops on {arguments.device}")
    if arguments.plot:
        reports.plot(arguments.plot, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "geo3d benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["ops"], help="what to time")
    parser.add_argument("--select", nargs="+", metavar="OP", help="only these ops, by the start of their names")
    parser.add_argument("--threads", nargs="+", type=int, help="thread counts to measure (default: 1, and all processors)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where to run (default: cpu)")
    parser.add_argument("--seconds", type=float, default=4, help="time for each workload (default: 4)")
    parser.add_argument("--rounds", type=int, default=40, help="at most so many rounds of a workload (default: 40)")
    parser.add_argument(
        "--markdown", type=Path, help="put the tables into this file, between their marks; what else is there stays"
    )
    parser.add_argument("--plot", type=Path, help="draw the ratios of the last thread count (.png, .svg, .pdf)")
    parser.add_argument("--json", type=Path, help="write the numbers of the last thread count")
    parser.add_argument("--inner", type=Path, help=argparse.SUPPRESS)  # a process of one thread count writes its report there
    parser.set_defaults(threads=sorted({1, len(_processors())}))
    return parser


def _in_a_process(arguments: argparse.Namespace, threads: int) -> reports.Report:
    if not 1 <= threads <= len(_processors()):
        raise ValueError(f"--threads must be 1 to {len(_processors())}, the processors of this machine, got {threads}")
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "geo3d.tools.benchmark",
            arguments.what,
            "--inner",
            str(path),
            "--threads",
            str(threads),
        ]
        command += ["--device", arguments.device, "--seconds", str(arguments.seconds), "--rounds", str(arguments.rounds)]
        command += ["--select", *arguments.select] if arguments.select else []
        if subprocess.run(command, env=environment).returncode:
            raise RuntimeError(f"the measurement with {threads} threads ended early; its message is above")
        return reports.Report.read(path)


def _measure(arguments: argparse.Namespace) -> reports.Report:
    import torch
    from tqdm import tqdm

    from geo3d.tools.benchmarks import machine

    threads = arguments.threads[0]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _processors()[:threads])
    torch.set_num_threads(threads)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device here")
    limits = machine.measure(device)
    rows = []
    with tqdm(_workloads(arguments.select, device), unit=" workloads", desc=f"{threads} threads") as bar:
        for workload in bar:
            bar.set_postfix_str(workload.title[:60])
            rows.append(_row(workload, limits, device, arguments))
    return reports.Report(limits.name, threads, limits.bandwidth / 1e9, limits.rate / 1e9, _versions(), rows)


def _workloads(select: Sequence[str] | None, device) -> Iterator:
    for file in _files(select):
        yield from (workload for workload in file.workloads(device) if _is_selected(workload.op, select))


def _files(select: Sequence[str] | None) -> list[ModuleType]:
    """The modules that hold workloads of the selected ops."""
    files = [importlib.import_module(f"geo3d.tools.benchmarks.{name}") for name in FILES]
    selected = [file for file in files if any(_is_selected(op, select) for op in file.OPS)]
    if not selected:
        known = ", ".join(op for file in files for op in file.OPS)
        raise ValueError(f"--select {' '.join(select or [])}: no workload of such an op; there are {known}")
    return selected


def _is_selected(op: str, select: Sequence[str] | None) -> bool:
    return select is None or any(op.startswith(start) for start in select)


def _row(workload, limits, device, arguments: argparse.Namespace) -> reports.Row:
    from geo3d.tools.benchmarks.timing import peak_memory, time_interleaved

    workload.check()
    candidates: dict[str, Callable] = {"ours": workload.ours, **workload.peers}
    if limits.threads > 1 and device.type == "cpu":
        candidates["single"] = _with_one_thread(workload.ours)
    timing = time_interleaved(candidates, device, arguments.seconds, arguments.rounds)
    peak = peak_memory(workload.ours, device)
    floor = limits.floor(workload.num_bytes, workload.operations)
    return reports.Row(
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
    import torch

    def alone():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return call()
        finally:
            torch.set_num_threads(threads)

    return alone


def _processors() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _versions() -> dict[str, str]:
    found = {}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
