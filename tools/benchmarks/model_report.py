"""Results of timing networks: rows that travel as JSON, Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geo3d.tools.benchmarks.report import as_milliseconds, thread_count


@dataclass(frozen=True)
class ModelRow:
    """One network on one input.

    Attributes:
        name, title: of the configuration, and with its input.
        ours, peer: milliseconds.
        ratio: time of the peer over ours.
        peak, peer_peak: MiB that they take at most, None where the system does not tell.
        parts: milliseconds of ours and of the peer by part, in their order.
    """

    name: str
    title: str
    ours: float
    peer: float
    ratio: float
    peak: float | None
    peer_peak: float | None
    parts: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class ModelReport:
    """machine: name; bandwidth in GB/s; rate in GFLOP/s; precision: 32, or that of autocast; versions by package; rows."""

    machine: str
    threads: int
    bandwidth: float
    rate: float
    precision: str
    versions: dict[str, str]
    rows: list[ModelRow]

    def write(self, path: Path) -> None:
        """What JSON holds of it."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> ModelReport:
        """From `write`."""
        values: dict[str, Any] = json.loads(path.read_text())
        rows = [
            ModelRow(**{**row, "parts": {name: tuple(pair) for name, pair in row["parts"].items()}})
            for row in values.pop("rows")
        ]
        return cls(rows=rows, **values)


def markdown(reports: Sequence[ModelReport]) -> str:
    """One section for each report."""
    return "\n".join(_section(report) for report in reports)


def _section(report: ModelReport) -> str:
    torch_version = report.versions.get("torch", "unknown")
    precision = "float32" if report.precision == "32" else f"autocast to {report.precision}"
    parts = list(dict.fromkeys(part for row in report.rows for part in row.parts))
    lines = [
        f"### {thread_count(report.threads)}",
        "",
        f"{report.machine}; copies {report.bandwidth:.0f} GB/s, multiplies {report.rate:.0f} GFLOP/s; torch {torch_version}; {precision}.",
        "",
        "| network and input | ms | plain PyTorch ms | ratio | peak MiB | plain PyTorch's |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(_total(row) for row in report.rows),
        "",
        f"| ms (share), plain PyTorch's ms | {' | '.join(parts)} |",
        f"| --- |{' ---: |' * len(parts)}",
        *(_shares(row, parts) for row in report.rows),
    ]
    return "\n".join([*lines, "", ""])


def _total(row: ModelRow) -> str:
    peaks = ("-" if peak is None else f"{peak:.0f}" for peak in (row.peak, row.peer_peak))
    cells = [row.title, as_milliseconds(row.ours), as_milliseconds(row.peer), f"**{row.ratio:.2f}**", *peaks]
    return f"| {' | '.join(cells)} |"


def _shares(row: ModelRow, parts: Sequence[str]) -> str:
    total = sum(ours for ours, _ in row.parts.values())
    cells = []
    for part in parts:
        if part in row.parts:
            ours, peer = row.parts[part]
            cells.append(f"{as_milliseconds(ours)} ({100 * ours / total:.1f} %), {as_milliseconds(peer)}")
        else:
            cells.append("-")
    return f"| {row.name} | {' | '.join(cells)} |"
