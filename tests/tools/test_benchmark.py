"""The benchmark measures what it says, and keeps what is in the file that it writes to."""

from __future__ import annotations

import json
import time

import pytest
import torch

from geo3d.tools import benchmark
from geo3d.tools.benchmarks import report
from geo3d.tools.benchmarks.machine import Machine
from geo3d.tools.benchmarks.timing import Timing, peak_memory, time_interleaved
from geo3d.tools.benchmarks.workloads import Workload

CPU = torch.device("cpu")
ROW = report.Row("knn", "knn of everything", 2, 2.0, None, 3.0, {"slow": (8.0, 4.0), "fast": (1.0, 0.5)}, 12.0)
REPORT = report.Report("A processor", 2, 10.0, 20.0, {"torch": "2"}, [ROW])


def test_ratio_is_that_of_the_rounds():
    timing = Timing({"ours": [1.0, 100.0, 2.0], "peer": [2.0, 200.0, float("nan")]})
    assert timing.ratio("peer", "ours") == 2
    assert timing.seconds("ours") == 2


def test_slow_candidates_run_in_few_rounds():
    calls = {"quick": 0, "slow": 0}

    def run(name, seconds):
        calls[name] += 1
        time.sleep(seconds)

    candidates = {"quick": lambda: run("quick", 0.001), "slow": lambda: run("slow", 0.05)}
    timing = time_interleaved(candidates, CPU, seconds=60, rounds=8)
    assert calls == {"quick": 10, "slow": 5}  # two of them before the clock starts
    assert timing.ratio("slow", "quick") > 5


def test_peak_memory_counts_what_is_freed_again():
    peak = peak_memory(lambda: torch.ones(2**24).sum(), CPU)  # 64 MiB for a moment
    if peak is None:
        pytest.skip("the system does not tell the peak memory of a process")
    assert 60 * 2**20 < peak < 90 * 2**20


def test_floor_is_the_slower_of_memory_and_arithmetic():
    machine = Machine("", 1, bandwidth=10.0, rate=100.0)
    assert machine.floor(20, 100) == 2
    assert machine.floor(20, 1000) == 10


def test_no_time_for_a_wrong_result():
    workload = Workload(
        "op", "two and two", lambda: torch.tensor(4.0), {"peer": lambda: torch.tensor(5.0)}, agree={"peer": lambda x: x}
    )
    with pytest.raises(RuntimeError, match="two and two: the result of peer differs"):
        workload.check()


def test_table_names_the_fastest_peer():
    text = report.markdown([REPORT])
    assert "| knn of everything | 2.00 (3.00 with 1 thread) | - | fast | 1.00 | **0.50** | slow 4.0 | 12 |" in text


def test_table_replaces_itself_alone(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("# Mine\n\nbefore\n")
    report.write_markdown(path, "first\n", "cpu")
    report.write_markdown(path, "cuda\n", "cuda")
    path.write_text(path.read_text() + "after\n")
    report.write_markdown(path, "second\n", "cpu")
    text = path.read_text()
    assert text.startswith("# Mine\n\nbefore\n") and text.endswith("after\n")
    assert "second" in text and "first" not in text and "cuda\n" in text


def test_report_as_json(tmp_path):
    REPORT.write(tmp_path / "report.json")
    assert report.Report.read(tmp_path / "report.json") == REPORT


def test_measures_an_op(tmp_path, capsys):
    paths = {name: tmp_path / name for name in ("table.md", "picture.png", "numbers.json")}
    options = ["--markdown", str(paths["table.md"]), "--plot", str(paths["picture.png"]), "--json", str(paths["numbers.json"])]
    assert benchmark.main(["ops", "--select", "box_iou", "--threads", "1", "--seconds", "0.1", "--rounds", "3", *options]) == 0
    rows = json.loads(paths["numbers.json"].read_text())["rows"]
    assert [row["op"] for row in rows] == ["box_iou_rotated"] and rows[0]["ours"] > 0
    assert "box_iou_rotated" in paths["table.md"].read_text() and "box_iou_rotated" in capsys.readouterr().out
    assert paths["picture.png"].stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "0"], "--threads must be 1 to"),
        (["--markdown", "/nowhere/table.md"], "no folder /nowhere"),
    ],
)
def test_bad_options(options, message, capsys):
    assert benchmark.main(["ops", *options]) == 2
    assert message in capsys.readouterr().err


def test_unknown_op(capsys):
    assert benchmark.main(["ops", "--select", "nonsense", "--threads", "1"]) == 2
    assert "--select nonsense: no workload of such an op" in capsys.readouterr().err
