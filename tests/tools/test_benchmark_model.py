"""`geo3d benchmark model`: the peer computes the same, the parts add up, and the table goes between its marks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
import yaml

import geo3d.configs
from geo3d.models.detection import TransFusionOutputs
from geo3d.models.dsvt import DSVTCenter, DSVTTransFusion
from geo3d.tools import benchmark
from geo3d.tools.benchmarks import models
from geo3d.tools.benchmarks.model_report import ModelReport, ModelRow, markdown
from geo3d.tools.benchmarks.networks import dsvt
from geo3d.tools.benchmarks.plain.dsvt import PlainDSVT, head_outputs

CPU = torch.device("cpu")
ARGUMENTS = {
    "num_classes": 3,
    "in_features": 4,
    "point_range": [0.0, -20.48, -3.0, 40.96, 20.48, 1.0],
    "voxel_size": [0.64, 0.64, 1.0],
    "channels": 16,
    "heads": 2,
    "stages": [
        {"blocks": 1, "set_size": 9, "window": [6, 6, 4], "shift": [3, 3, 2]},
        {"blocks": 2, "set_size": 7, "window": [6, 6, 1], "shift": [3, 3, 0], "stride": [2, 2, 4]},
    ],
    "bev_blocks": [0],
    "bev_strides": [1],
    "bev_channels": [8],
    "bev_up_strides": [1],
    "bev_up_channels": [8],
}
PILLARS = {
    **ARGUMENTS,
    "voxel_size": [0.64, 0.64, 4.0],
    "stages": [{"blocks": 2, "set_size": 9, "window": [6, 6, 1], "shift": [3, 3, 0]}],
}
NETWORKS = {
    "attention": lambda: DSVTCenter(**ARGUMENTS, head_channels=8),
    "linear": lambda: DSVTCenter(**ARGUMENTS, head_channels=8, pooling="linear"),
    "max": lambda: DSVTCenter(**ARGUMENTS, head_channels=8, pooling="max", matched_positions=True),
    "any_height": lambda: DSVTTransFusion(**PILLARS, hidden=8, crowded_classes=[2]),
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NETWORKS)
def test_peer_is_the_same_network(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.normal_(norm.running_mean)
    points = torch.rand(900, 4) * torch.tensor([42.0, 42.0, 5.0, 1.0]) - torch.tensor([0.5, 21.0, 3.5, 0])
    batch_index = (torch.arange(900) >= 400).long()
    inputs = []
    network.bev.register_forward_hook(lambda module, arguments, result: inputs.append(result))
    marks: dict[str, list[str]] = {"ours": [], "plain": []}
    with torch.no_grad():
        network(points, batch_index, 2)
        ours = dsvt.run_parts(network, points, batch_index, 2, marks["ours"].append)
        plain = PlainDSVT(network)(points, batch_index, 2, marks["plain"].append)
        outputs, others = network.head(ours), head_outputs(network.head, plain)
    if isinstance(outputs, TransFusionOutputs):
        assert_same_proposals(others, outputs, network.head.branches)
    else:
        for name in network.head.branches:
            torch.testing.assert_close(getattr(others, name), getattr(outputs, name), rtol=0, atol=1e-4)
    torch.testing.assert_close(ours, inputs[0], rtol=0, atol=0)  # what is timed is what the network does
    torch.testing.assert_close(plain, ours, rtol=0, atol=1e-4)
    assert marks["ours"] == marks["plain"] and marks["ours"][-1] == "2D backbone"


def assert_same_proposals(plain: TransFusionOutputs, ours: TransFusionOutputs, names: Iterable[str]) -> None:
    """Proposals of equal height may change places, and the last of a sample may be others of the same height; all else is the same."""
    torch.testing.assert_close(plain.dense_heatmap, ours.dense_heatmap, rtol=0, atol=1e-4)
    torch.testing.assert_close(plain.query_scores, ours.query_scores, rtol=0, atol=1e-6)  # both fall from first to last
    for sample in range(len(ours.query_labels)):
        both = [rows_by_place(outputs, sample) for outputs in (plain, ours)]
        common = sorted(both[0].keys() & both[1].keys())
        assert len(common) >= len(both[1]) - 2
        for rows, outputs in zip(both, (plain, ours), strict=True):
            scores = outputs.query_scores[sample]
            assert all(scores[row] - scores[-1] <= 1e-6 for place, row in rows.items() if place not in common)
        for name in (*names, "query_scores"):
            theirs, own = (
                getattr(o, name)[sample, [rows[p] for p in common]] for rows, o in zip(both, (plain, ours), strict=True)
            )
            torch.testing.assert_close(theirs, own, rtol=0, atol=1e-6 if name == "query_scores" else 1e-4)


def rows_by_place(outputs: TransFusionOutputs, sample: int) -> dict[tuple[int, ...], int]:
    """Which proposal is of a class and cell (x, y)."""
    places = zip(outputs.query_labels[sample].tolist(), outputs.query_cells[sample].tolist(), strict=True)
    return {(label, *cell): row for row, (label, cell) in enumerate(places)}


def test_stopwatch_adds_up_parts_of_one_name():
    watch = models.Stopwatch(CPU)
    for name, seconds in (("a", 0.01), ("b", 0.02), ("a", 0.03)):
        time.sleep(seconds)
        watch.mark(name)
    parts = watch.parts()
    assert list(parts) == ["a", "b"] and 0.04 <= parts["a"] < 0.2 and 0.02 <= parts["b"] < 0.2


def test_no_time_for_another_result():
    with pytest.raises(RuntimeError, match="net: the result of plain PyTorch differs from ours by 1 of 2"):
        models._check("net", lambda mark: (torch.tensor([1.0, 2.0]),), lambda mark: (torch.tensor([1.0, 1.0]),), CPU)


def test_table():
    row = ModelRow("net", "net, a sweep", 10.0, 15.0, 1.5, 3.0, None, {"first": (2.5, 5.0), "second": (7.5, 10.0)})
    text = markdown([ModelReport("A processor", 1, 10, 20, "32", {"torch": "2"}, [row])])
    assert "| net, a sweep | 10.0 | 15.0 | **1.50** | 3 | - |" in text
    assert "| net | 2.50 (25.0 %), 5.00 | 7.50 (75.0 %), 10.0 |" in text


def test_measures_a_configuration(tmp_path, capsys):
    content = yaml.safe_load((Path(geo3d.configs.__file__).parent / "dsvt/kitti_pillar.yaml").read_text())
    content["model"]["init_args"]["network"]["init_args"] = {**ARGUMENTS, "head_channels": 8}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    options = ["--config", str(tmp_path / "small.yaml"), "--threads", "1", "--seconds", "0.1", "--rounds", "3"]
    options += ["--markdown", str(tmp_path / "table.md"), "--json", str(tmp_path / "numbers.json")]
    assert benchmark.main(["model", "dsvt", *options]) == 0
    [row] = json.loads((tmp_path / "numbers.json").read_text())["rows"]
    parts = ["point encoder", "windows and sets", "attention blocks", "pooling", "2D backbone", "head", "decoding and NMS"]
    assert row["name"] == "small" and list(row["parts"]) == parts and row["ours"] > 0
    assert sum(ours for ours, _ in row["parts"].values()) == pytest.approx(row["ours"], rel=0.5)
    assert "<!-- model dsvt on cpu: begin -->" in (tmp_path / "table.md").read_text()
    assert "| small |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model"], "expected one of arteq, dsvt, lrgt, rejshand, got none"),
        (["model", "nonsense"], "expected one of arteq, dsvt, lrgt, rejshand, got nonsense"),
        (["model", "dsvt", "--config", "nonsense"], "no configuration nonsense"),
        (["model", "dsvt", "--select", "nonsense"], "no such configuration; there are waymo_pillar"),
        (["model", "dsvt", "--plot", "x.png"], "--plot goes with ops"),
        (["ops", "dsvt"], "dsvt: a network goes with model"),
        (["ops", "--compile"], "--compile: a network goes with model"),
    ],
)
def test_mistakes(options, message, capsys):
    assert benchmark.main([*options, "--threads", "1"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_configuration_of_another_task(capsys):
    assert benchmark.main(["model", "dsvt", "--config", "risurconv/modelnet40", "--threads", "1"]) == 2
    assert (
        "expected the configuration of dsvt, got one of geo3d.models.risurconv.RISurConvClassifier" in capsys.readouterr().err
    )
