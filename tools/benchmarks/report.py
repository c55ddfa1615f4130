"""Results of a benchmark: rows that travel as JSON, a Markdown table, a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}  # behind the names in the picture


@dataclass(frozen=True)
class Row:
    """One workload as measured.

    Attributes:
        op, title: as in the workload.
        threads: of the CPU.
        ours, floor: milliseconds; floor is None where memory and arithmetic are not the limit.
        single: milliseconds of ours with one thread in the same rounds, None for a run with one thread.
        peers: by name, (milliseconds, time over ours: above 1 ours is faster).
        peak: MiB that ours takes at most, None where the system does not tell.
    """

    op: str
    title: str
    threads: int
    ours: float
    floor: float | None
    single: float | None
    peers: dict[str, tuple[float, float]]
    peak: float | None

    @property
    def best(self) -> str | None:
        """Name of the fastest peer."""
        return min(self.peers, key=lambda name: self.peers[name][0], default=None)


@dataclass(frozen=True)
class Report:
    """machine: name; bandwidth in GB/s; rate in GFLOP/s; versions by package; rows."""

    machine: str
    threads: int
    bandwidth: float
    rate: float
    versions: dict[str, str]
    rows: list[Row]

    def write(self, path: Path) -> None:
        """What JSON holds of it."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Report:
        """From `write`."""
        values: dict[str, Any] = json.loads(path.read_text())
        rows = [
            Row(**{**row, "peers": {name: tuple(pair) for name, pair in row["peers"].items()}}) for row in values.pop("rows")
        ]
        return cls(rows=rows, **values)


def markdown(reports: Sequence[Report]) -> str:
    """One section for each report."""
    return "\n".join(_section(report) for report in reports)


def write_markdown(path: Path, text: str, name: str) -> None:
    """Put the text between the two marks of that name in a file, or at its end; what else is in the file stays."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    if begin in old and end in old.split(begin, 1)[1]:
        before, rest = old.split(begin, 1)
        new = f"{before}{begin}\n{text}{end}{rest.split(end, 1)[1]}"
    else:
        new = f"{old.rstrip()}\n\n{begin}\n{text}{end}\n"
    path.write_text(new)


def plot(path: Path, reports: Sequence[Report]) -> None:
    """Draw how many times as long as ours each peer takes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in reports[-1].rows if row.peers]
    figure, axes = pyplot.subplots(figsize=(13, 1.2 + 0.27 * len(rows)), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        for name, (_, ratio) in row.peers.items():
            is_best = name == row.best
            axes.plot(
                ratio, place, "o", color="#c1440e" if is_best else "#b8c4d0", markersize=7 if is_best else 5, zorder=2 + is_best
            )
            if is_best:
                axes.annotate(
                    name, (ratio, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7, bbox=WHITE
                )
    axes.axvline(1, color="#2a6f4e", linewidth=1.2)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row.title for row in reversed(rows)], fontsize=7)
    axes.set_xlabel("time of the peer over that of geo3d: right of the line geo3d is faster")
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
    axes.set_title(f"{reports[-1].machine}, {thread_count(reports[-1].threads)}", fontsize=9)
    axes.margins(y=0.01)
    axes.grid(axis="x", color="#e4e8ec")
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _section(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [
        f"### {thread_count(report.threads)}",
        "",
        f"{report.machine}; copies {report.bandwidth:.0f} GB/s, multiplies {report.rate:.0f} GFLOP/s; {versions}.",
        "",
        "| workload | ms | floor ms | fastest peer | its ms | ratio | other peers: ratio | peak MiB |",
        "| --- | ---: | ---: | --- | ---: | ---: | --- | ---: |",
    ]
    return "\n".join([*lines, *(_line(row) for row in report.rows), "", ""])


def _line(row: Row) -> str:
    best = row.best
    others = ", ".join(
        f"{name} {ratio:.1f}" for name, (_, ratio) in sorted(row.peers.items(), key=lambda item: item[1]) if name != best
    )
    milliseconds, ratio = row.peers[best] if best else (None, None)
    alone = f" ({as_milliseconds(row.single)} with 1 thread)" if row.single is not None else ""
    cells = [
        row.title,
        as_milliseconds(row.ours) + alone,
        as_milliseconds(row.floor),
        best or "none installed",
        as_milliseconds(milliseconds),
        "-" if ratio is None else f"**{ratio:.2f}**",
        others or "-",
        "-" if row.peak is None else f"{row.peak:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def as_milliseconds(milliseconds: float | None) -> str:
    """With three digits; a dash for none."""
    if milliseconds is None:
        return "-"
    return (
        f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"
    )


def thread_count(count: int) -> str:
    """In words."""
    return f"{count} thread{'s' if count != 1 else ''}"
