"""Checkpoints on disk, what resumes from them, and what is refused."""

from __future__ import annotations

import errno
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from small_trainings import SMALL

from geo3d.tools import checkpoints, train
from geo3d.tools import test as test_tool

CONFIG, *OPTIONS = SMALL["classification"]


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a training of two epochs."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEO3D_DATA", str(tmp_path_factory.getbasetemp() / "geo3d-data"))
        assert train.main([CONFIG, *OPTIONS, f"--out={folder}", "--name=run", "--trainer.max_epochs=2"]) == 0
    return folder


@pytest.fixture
def out(finished, tmp_path, tmp_path_factory, monkeypatch):
    """A copy of it that a test may change."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path_factory.getbasetemp() / "geo3d-data"))
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path


def resume(out: Path, *more: str, checkpoint: str = "last") -> int:
    return train.main([CONFIG, *OPTIONS, f"--out={out}", "--name=run", f"--resume={checkpoint}", *more])


@pytest.mark.parametrize("kind", ["pickle", "zip"])
def test_a_checkpoint_runs_no_code(kind, out, capsys):
    path, target = out / "hostile.ckpt", out / "executed"
    content = {"state_dict": {}, "harm": Hostile(target)}
    if kind == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    assert resume(out, checkpoint=str(path)) == 2
    assert not target.exists()
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "hostile.ckpt" in error
    if kind == "zip":
        assert "--trust-checkpoint" in error
        checkpoints.read_checkpoint(path, trust=True)
        assert target.exists()  # so that the check above could fail


def test_a_cut_off_checkpoint_names_the_one_before(out, capsys):
    last = out / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    assert resume(out, "--trainer.max_epochs=3") == 2
    assert f"--resume {checkpoints.previous(last)}" in capsys.readouterr().err
    assert checkpoints.read_checkpoint(checkpoints.previous(last))["epoch"] == 0


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    files, path = checkpoints.CheckpointFiles(), tmp_path / "last.ckpt"
    files.save_checkpoint({"state_dict": {"a": torch.ones(3)}, "epoch": 1}, path)

    def full(content, file):
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"last.ckpt: the checkpoint cannot be written \(.*No space left.*is the one before"):
        files.save_checkpoint({"state_dict": {}, "epoch": 2}, path)
    assert checkpoints.read_checkpoint(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


# Writes a checkpoint of the second epoch over that of the first and is killed in the middle of it.
KILLED = """
import os, signal, sys
import torch
from geo3d.tools.checkpoints import CheckpointFiles

files = CheckpointFiles()
files.save_checkpoint({"epoch": 1, "state_dict": {}}, sys.argv[1])

def part(content, file):
    file.write(b"part")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = part
files.save_checkpoint({"epoch": 2, "state_dict": {}}, sys.argv[1])
"""


def test_killed_while_it_writes_leaves_the_checkpoint_before(tmp_path):
    """What it had written lies beside and is in nobody's way."""
    path = tmp_path / "out" / "last.ckpt"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoints.read_checkpoint(path)["epoch"] == 1
    checkpoints.CheckpointFiles().save_checkpoint({"epoch": 3, "state_dict": {}}, path)
    assert checkpoints.read_checkpoint(path)["epoch"] == 3
    assert checkpoints.read_checkpoint(checkpoints.previous(path))["epoch"] == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "last.previous.ckpt"]


def test_a_longer_training_has_the_rates_of_its_own_schedule(out, monkeypatch):
    rates = {}

    def record(self, batch, index):
        rates[self.current_epoch] = self.optimizers().param_groups[0]["lr"]

    monkeypatch.setattr("geo3d.tasks.base.Task.on_train_batch_start", record)
    assert resume(out, "--trainer.max_epochs=4") == 0
    settings = yaml.safe_load((out / "run" / "config.yaml").read_text())["model"]["init_args"]
    from geo3d.tools.lightning_cli import Cli

    schedule = Cli([str(out / "run" / "config.yaml")], testing=True).model.schedule
    assert rates == {epoch: pytest.approx(schedule.rate(epoch, 4, settings["lr"])) for epoch in (2, 3)}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("--model.init_args.lr=0.01", "--model.init_args.lr is 0.01, but this training has"),
        ("--model.init_args.network.init_args.embedding=8", "--model.init_args.network.init_args.embedding is 8"),
        ("--data.init_args.batch_size=8", "--data.init_args.batch_size is 8"),
    ],
)
def test_other_settings_are_refused_and_the_former_kept(change, key, out, capsys):
    before = (out / "run" / "config.yaml").read_text()
    assert resume(out, change, "--trainer.max_epochs=3") == 2
    assert key in capsys.readouterr().err
    assert (out / "run" / "config.yaml").read_text() == before


def test_the_configuration_of_a_run_is_tested_and_trained_from(out, monkeypatch, capsys):
    monkeypatch.chdir(out)
    assert resume(out, "--trainer.max_epochs=3") == 0
    config = str(out / "run" / "config.yaml")
    assert test_tool.main([config, "--json", "result.json"]) == 0
    assert test_tool.main([config, "--json", "result.json"]) == 2
    assert "result.json exists" in capsys.readouterr().err
    assert train.main([config, "--name=second", "--trainer.max_epochs=1"]) == 0
    assert checkpoints.read_checkpoint(out / "second" / "checkpoints" / "last.ckpt")["epoch"] == 0


def test_a_training_is_not_overwritten(out, capsys):
    (out / "run" / "checkpoints" / "last.ckpt").unlink()
    again = [CONFIG, *OPTIONS, f"--out={out}", "--name=run", "--trainer.max_epochs=1"]
    assert train.main(again) == 2
    assert "run holds the weights.safetensors of a training" in capsys.readouterr().err
    assert train.main([*again, "--overwrite"]) == 0


def test_an_interrupted_training_says_how_to_resume(out, monkeypatch, capsys):
    def interrupt(self, batch, index):
        raise KeyboardInterrupt

    monkeypatch.setattr("geo3d.tasks.base.Task.on_train_batch_start", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    assert resume(out, "--trainer.max_epochs=3") == 130
    signal.signal(signal.SIGINT, handler)  # Lightning leaves Ctrl-C ignored
    assert "interrupted in epoch 3; --resume last repeats this epoch" in capsys.readouterr().err
