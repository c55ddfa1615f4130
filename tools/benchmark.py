"""Time the ops beside their installed peers: `geo3d benchmark ops [--select knn ...] [--threads 1 2]`.

Or a whole network, its parts, and the same network in plain PyTorch: `geo3d benchmark model dsvt [--config NAME_OR_YAML]`.

Each workload runs warm, ours and every peer in turn within one run; the medians, their ratios, the machine's floor and the peak memory are
printed. Each thread count is a process of its own, which is held to as many processors, so that peers with thread pools of their own obey.

  geo3d benchmark ops --markdown docs/benchmarks.md --plot ops.png
  geo3d benchmark model dsvt --markdown docs/benchmarks.md --threads 1
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geo3d.tools.benchmarks import model_report as model_reports
from geo3d.tools.benchmarks import report as reports
from geo3d.tools.errors import run_tool

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
    arguments = _parser().parse_intermixed_args(argv)
    if arguments.inner:
        _measure(arguments).write(arguments.inner)
        return 0
    for path in (arguments.markdown, arguments.plot, arguments.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder {path.absolute().parent} for {path.name}")
    _check(arguments)
    results = [_in_a_process(arguments, threads) for threads in arguments.threads]
    text = (model_reports if _is_model(arguments) else reports).markdown(results)
    print(text)
    if arguments.json:
        results[-1].write(arguments.json)
    if arguments.markdown:
        name = f"model {arguments.name}" if _is_model(arguments) else "ops"
        reports.write_markdown(arguments.markdown, text, f"{name} on {arguments.device}")
    if arguments.plot:
        reports.plot(arguments.plot, results)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What is misspelt is told before anything is measured."""
    if _is_model(arguments):
        from geo3d.tools.benchmarks import models

        models.configurations(arguments)
        if arguments.plot:
            raise ValueError("--plot goes with ops")
        return
    from geo3d.tools.benchmarks import ops

    ops.files_of(arguments.select)
    for option in ("name", "config", "compile"):
        if getattr(arguments, option):
            given = "--compile" if option == "compile" else getattr(arguments, option)
            raise ValueError(f"{given}: a network goes with model, as in geo3d benchmark model dsvt")


def _is_model(arguments: argparse.Namespace) -> bool:
    return arguments.what == "model"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "geo3d benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["ops", "model"], help="what to time")
    parser.add_argument("name", nargs="?", help="of the model: arteq, dsvt, lrgt or rejshand")
    parser.add_argument("--config", help="configuration of the model (default: those that geo3d ships)")
    parser.add_argument("--compile", action="store_true", help="compile the dense part of the model")
    parser.add_argument("--precision", default="32", choices=["32", "bf16", "16"], help="of the model (default: 32)")
    parser.add_argument(
        "--select", nargs="+", metavar="OP", help="only these ops or configurations, by the start of their names"
    )
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


def _in_a_process(arguments: argparse.Namespace, threads: int) -> Any:
    if not 1 <= threads <= len(_processors()):
        raise ValueError(f"--threads must be 1 to {len(_processors())}, the processors of this machine, got {threads}")
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "geo3d.tools.benchmark", arguments.what, *([arguments.name] if arguments.name else [])]
        command += ["--inner", str(path), "--threads", str(threads)]
        for option in ("device", "seconds", "rounds", "precision"):
            command += [f"--{option}", str(getattr(arguments, option))]
        command += ["--config", arguments.config] if arguments.config else []
        command += ["--compile"] if arguments.compile else []
        command += ["--select", *arguments.select] if arguments.select else []
        if subprocess.run(command, env=environment).returncode:
            raise RuntimeError(f"the measurement with {threads} threads ended early; its message is above")
        return (model_reports.ModelReport if _is_model(arguments) else reports.Report).read(path)


def _measure(arguments: argparse.Namespace) -> Any:
    import torch

    from geo3d.tools.benchmarks import machine, models, ops

    threads = arguments.threads[0]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _processors()[:threads])
    torch.set_num_threads(threads)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device here")
    return (models if _is_model(arguments) else ops).measure(arguments, machine.measure(device), device, _versions())


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
