"""`geo3d train`, `--resume` and `geo3d test`, on a few small generated shapes; and what they refuse."""

from __future__ import annotations

import json

import pytest
import torch
from small_trainings import SMALL

import geo3d
from geo3d.descriptions import SweepInput
from geo3d.tools import test as test_tool
from geo3d.tools import train
from geo3d.zoo.weights import read_info


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path_factory.getbasetemp() / "geo3d-data"))


@pytest.mark.parametrize("task", SMALL)
def test_train_resume_and_test(task, tmp_path, capsys):
    config, *options = SMALL[task]
    options += ["--out", str(tmp_path), "--name", "run", "--trainer.check_val_every_n_epoch=1"]
    assert train.main([config, *options, "--trainer.max_epochs=1"]) == 0
    assert train.main([config, *options, "--trainer.max_epochs=1"]) == 2  # a training is not overwritten
    assert "holds a training; resume it with --resume last" in capsys.readouterr().err
    assert train.main([config, *options, "--trainer.max_epochs=2", "--resume", "last"]) == 0
    info = read_info(tmp_path / "run" / "weights.safetensors")
    assert info.training["epochs"] == 2 and info.preprocessing.num_points == 128
    assert list((tmp_path / "run" / "logs").glob("events*"))
    capsys.readouterr()
    assert test_tool.main([config, *options, "--json", f"{tmp_path}/result.json"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    name = "test/accuracy" if task == "classification" else "test/instance_miou"
    assert 0 <= result[name] <= 1 and f"{name} " in capsys.readouterr().out
    if task == "classification":
        assert (tmp_path / "run" / "confusion_matrix.png").stat().st_size > 1000


@pytest.mark.parametrize("tool", [train.main, test_tool.main])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a configuration"),
        (["risurconv/nothing"], "no configuration risurconv/nothing; geo3d ships arteq/"),
        (["risurconv/modelnet40"], "no folder data/modelnet40_normal_resampled"),
        (["risurconv/modelnet40", "--model.lr", "fast"], "lr"),
        (["--trainer.max_epochs", "3", "risurconv/modelnet40", "--model.lr=fast"], "lr"),
        (["risurconv/modelnet40", "--model.init_args.network.init_args.wings", "2"], "wings"),
        (["risurconv/modelnet40", "--model.init_args.lr", "0"], "lr must be above 0, got 0"),
    ],
)
def test_bad_arguments(tool, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if tool is test_tool.main and arguments:
        arguments = [*arguments, "--weights", "risurconv-shapes-classifier"]
        if message.startswith("no folder"):
            message = "weights do not fit"
    assert tool(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and message in error


def test_a_missing_folder_of_figures_is_told_before_the_test(tmp_path, monkeypatch, capsys):
    """Before the data, too, which is not there."""
    monkeypatch.chdir(tmp_path)
    assert test_tool.main(["risurconv/modelnet40", "--json", "absent/result.json"]) == 2
    assert "--json absent/result.json: no folder" in capsys.readouterr().err


def test_network_that_does_not_fit_the_data(tmp_path, capsys):
    config, *options = SMALL["classification"]
    options += ["--out", str(tmp_path), "--model.init_args.network.init_args.num_classes=5"]
    assert train.main([config, *options]) == 2
    assert "the network has num_classes 5, but the data has 18 classes" in capsys.readouterr().err


def test_no_weights_yet(tmp_path, capsys):
    config, *options = SMALL["classification"]
    assert test_tool.main([config, *options, "--out", str(tmp_path)]) == 2
    assert "no weights" in capsys.readouterr().err


def test_starts_from_weights(tmp_path, capsys):
    config, *options = SMALL["classification"]
    options += [
        "--out",
        str(tmp_path),
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=1",
        "--trainer.max_epochs=1",
    ]
    assert train.main([config, *options, "--name", "first"]) == 0
    first = str(tmp_path / "first" / "weights.safetensors")
    assert train.main([config, *options, "--name", "second", f"--weights={first}", "--model.init_args.lr=1e-12"]) == 0
    info = read_info(tmp_path / "second" / "weights.safetensors")
    assert info.training["weights"] == first
    parameters = dict(geo3d.load(first).network.named_parameters())
    for name, parameter in geo3d.load(tmp_path / "second" / "weights.safetensors").network.named_parameters():
        torch.testing.assert_close(parameter, parameters[name], msg=name)
    capsys.readouterr()
    for wrong, message in (
        ([f"--weights={first}", "--resume=last"], "expected one of them"),
        (["--weights=risurconv-shapes-parts"], "weights do not fit"),
        (["--weights=nothing.ckpt"], "nothing.ckpt"),
    ):
        assert train.main([config, *options, "--name", "first" if "--resume=last" in wrong else "third", *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_weights_after_generated_streets(tmp_path, monkeypatch):
    """A detector trained on streets that are made on first use is written, and can be loaded."""
    pytest.importorskip("open3d", reason="Open3D casts the rays")
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    options = ["--data.init_args.generate.size=5", "--data.init_args.num_workers=0", "--data.init_args.batch_size=1"]
    options += [f"--trainer.{name}=1" for name in ("max_epochs", "limit_train_batches", "limit_val_batches")]
    assert train.main(["dsvt/generated_pillar", "--out", str(tmp_path), "--name", "streets", *options]) == 0
    detector = geo3d.load(tmp_path / "streets" / "weights.safetensors")
    assert detector.info.training["data"]["generate"] == {"size": 5, "seed": 0}
    assert detector.info.preprocessing == SweepInput("kitti", ("intensity",), camera_view_only=True)
