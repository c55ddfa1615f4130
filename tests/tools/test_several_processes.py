"""Two processes evaluate as one does, share a training, and end and begin again together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nuscenes_folder import write_tables
from small_hands import EAGER
from small_trainings import EVERY, NUSCENES
from torch import distributed

from geo3d.data.loading import EpochSampler, ShareSampler
from geo3d.tools.lightning_cli import Cli

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this PyTorch has no distributed package")
CPU = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")


def run(*command: str, processes: int = 1, data: Path, timeout: float = 240, launcher: tuple[str, ...] = ()):
    """Run a tool of geo3d, or a script, in one process or in two."""
    environment = {**os.environ, "GEO3D_DATA": str(data), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *launcher]
    program = command if command[0].endswith(".py") else ("-m", "geo3d.tools.cli", *command)
    arguments = [sys.executable, *(several if processes > 1 else []), *program]
    if processes > 1:
        arguments += [f"--trainer.devices={processes}", "--trainer.strategy=ddp"]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=timeout)


def complaint(done: subprocess.CompletedProcess) -> str:
    """What a run printed, its workers' own errors with it: torchrun's summary alone comes last and says no more than exit codes."""
    return f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-20000:]}"


@pytest.fixture
def data(tmp_path_factory):
    return tmp_path_factory.getbasetemp() / "geo3d-data"


# The other losses are means over the objects of a batch, which differs.
LOSS_BY_ITEM = ("classification", "parts", "reconstruction")
TASKS = (*EVERY, "nuscenes")

# Evaluates one task after the other, which start the libraries once.
EVALUATING = """
import json, sys
import torch
from geo3d.tools import test

if __name__ == "__main__":
    torch.set_num_threads(1)
    with open(sys.argv[1]) as file:
        tasks = json.load(file)
    for task, options in tasks.items():
        print(task, test.main([*options, *sys.argv[2:]]), flush=True)
"""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Figures of every task's test by one process and by two, each with what it printed, and the folder with the hands' predictions."""
    folder, data = tmp_path_factory.mktemp("evaluated"), tmp_path_factory.getbasetemp() / "geo3d-data"
    write_tables(folder / "nuscenes")
    tasks = {**EVERY, "nuscenes": (*NUSCENES, f"--data.init_args.root={folder}/nuscenes")}
    script = folder / "evaluate.py"
    script.write_text(EVALUATING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEO3D_DATA", str(data))
        for task, options in tasks.items():
            torch.manual_seed(0)
            state = Cli([*options, f"--out={folder}"], testing=True).model.network.state_dict()
            if task == "hand_detection":
                state["score_head.bias"].fill_(EAGER)  # finds hands everywhere
            torch.save({"state_dict": {f"network.{name}": tensor for name, tensor in state.items()}}, folder / f"{task}.ckpt")
    seen = {}
    for processes in (1, 2):
        every = {}
        for task, options in tasks.items():
            every[task] = [*options, *CPU, f"--out={folder}", f"--weights={folder}/{task}.ckpt"]
            every[task] += [f"--json={folder}/{task}-{processes}.json"]
        every["hands"].append(f"--model.init_args.predictions_file={folder}/predictions-{processes}.json")
        (folder / f"{processes}.json").write_text(json.dumps(every))
        done = run(str(script), str(folder / f"{processes}.json"), processes=processes, data=data, timeout=900)
        files = {task: folder / f"{task}-{processes}.json" for task in tasks}
        figures = {task: json.loads(file.read_text()) for task, file in files.items() if file.exists()}
        seen[processes] = (
            {task: {name: value for name, value in each.items() if name.startswith("test/")} for task, each in figures.items()},
            complaint(done),
        )
    return seen, folder


@pytest.mark.parametrize("task", TASKS)
def test_a_test_by_two_processes_gives_the_figures_of_one(task, evaluated):
    seen, folder = evaluated
    for figures, printed in seen.values():
        assert task in figures, printed
    one, two = (figures[task] for figures, _ in seen.values())
    assert one.keys() == two.keys() and len(one) > 2
    for name, value in one.items():
        if "loss" not in name or task in LOSS_BY_ITEM:
            assert two[name] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), name
    if task == "hands":
        first, second = (json.loads((folder / f"predictions-{processes}.json").read_text()) for processes in (1, 2))
        for a, b in zip(first, second, strict=True):
            torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-4, atol=1e-5)


# Validates with an uneven share in a training, where the norms' statistics are copied between processes; then writes what was seen.
SHARED = """
import json, sys
import torch
from geo3d.tasks.base import Task
from geo3d.tools import train

seen = {"train": [], "val": []}
out = sys.argv[1]

def training(self, batch, index):
    seen["train"].append(float(batch.points.double().sum()))

def evaluated(self, batch, stage):
    seen["val"].append(len(batch.labels))
    return [("", batch)]

def save(self):
    figures = {name: float(value) for name, value in self.trainer.callback_metrics.items() if name.startswith("val/")}
    weights = {name: tensor.double().sum().item() for name, tensor in self.network.state_dict().items()}
    with open(f"{out}/{self.global_rank}.json", "w") as file:
        json.dump({**seen, "figures": figures, "weights": weights}, file)

if __name__ == "__main__":
    torch.set_num_threads(1)
    Task.on_train_batch_start, Task.evaluated, Task.on_fit_end = training, evaluated, save
    sys.exit(train.main(sys.argv[2:]))
"""


def test_two_processes_share_a_training_and_its_validation(tmp_path, data):
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    options = [*EVERY["classification"], *CPU, f"--out={tmp_path}", "--data.init_args.test_batch_size=4"]
    options += ["--data.init_args.generate.size=89", "--data.init_args.num_workers=0"]  # 17 of them to validate on
    options += ["--trainer.max_epochs=1", "--trainer.num_sanity_val_steps=0", "--trainer.check_val_every_n_epoch=1"]
    runs = []
    for name in ("first", "second"):
        done = run(str(script), str(tmp_path), *options, f"--name={name}", processes=2, data=data)
        assert done.returncode == 0, complaint(done)
        runs.append([json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)])
    ranks = runs[0]
    assert runs[0] == runs[1]  # reproducible
    assert [rank["val"] for rank in ranks] == [[4, 4, 1], [4, 4]]
    assert ranks[0]["figures"] == ranks[1]["figures"]
    assert not set(ranks[0]["train"]) & set(ranks[1]["train"])  # no batch in both


@pytest.mark.parametrize("count", [7, 8])
def test_shares_hold_every_item_once(count, monkeypatch):
    shares, orders = [], []
    for rank in range(3):
        monkeypatch.setattr("geo3d.data.loading.this_process", lambda rank=rank: (rank, 3))
        shares.append(list(ShareSampler(count, "data")))
        orders.append(list(EpochSampler(count, 0, 1)))
    assert sorted(sum(shares, [])) == list(range(count)) and {len(share) for share in shares} == {2, 3}
    items = [index for order in orders for index, _ in order]
    assert len(set(items)) == len(items) == 6 and {len(order) for order in orders} == {2}
    monkeypatch.undo()
    assert [key for row in zip(*orders, strict=True) for key in row] == list(EpochSampler(count, 0, 1))[:6]
    monkeypatch.setattr("geo3d.data.loading.this_process", lambda: (0, 9))
    with pytest.raises(ValueError, match="data: .* items cannot be shared by 9 processes"):
        ShareSampler(count, "data")


# Trains; the second process fails in the second epoch of its first start, or of every start. In a restart the first process comes late:
# PyTorch would let the other one look for it where it was before.
FAILING = """
import os, sys, time
import torch
from geo3d.tasks.base import Task
from geo3d.tools import train

def fail(self, batch, index):
    fails = {"always": True, "once": os.environ["TORCHELASTIC_RESTART_COUNT"] == "0", "never": False}[sys.argv[1]]
    if fails and self.current_epoch == 1 and self.global_rank == 1:
        raise RuntimeError("this process has had enough")

if __name__ == "__main__":
    torch.set_num_threads(1)
    Task.on_train_batch_start = fail
    fit = train._fit
    late = (os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]) == ("1", "0")
    train._fit = lambda *arguments: (late and time.sleep(4), fit(*arguments))[1]
    sys.exit(train.main(sys.argv[2:]))
"""


def test_a_process_that_fails_ends_the_run_and_a_restart_resumes(tmp_path, data):
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    options = [*EVERY["classification"], *CPU, f"--out={tmp_path}", "--trainer.max_epochs=2", "--trainer.limit_val_batches=0"]
    done = run(str(script), "always", *options, "--name=failed", processes=2, data=data)
    assert done.returncode not in (0, None) and "this process has had enough" in done.stderr, complaint(done)
    assert (tmp_path / "failed" / "checkpoints" / "last.ckpt").is_file()
    assert not (tmp_path / "failed" / "weights.safetensors").exists()

    again = run(str(script), "once", *options, "--name=failed", processes=2, data=data, launcher=("--max-restarts=1",))
    refused = again.returncode != 0 and "holds a training; resume it" in again.stderr
    assert refused, complaint(again)  # a refusal is no reason to resume another's

    restarted = run(str(script), "once", *options, "--name=restarted", processes=2, data=data, launcher=("--max-restarts=1",))
    assert restarted.returncode == 0, complaint(restarted)
    assert "this process has had enough" in restarted.stderr
    uninterrupted = run(str(script), "never", *options, "--name=whole", processes=2, data=data)
    assert uninterrupted.returncode == 0, complaint(uninterrupted)
    restarted_weights, whole = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
        for name in ("restarted", "whole")
    )
    for name, tensor in whole.items():
        torch.testing.assert_close(restarted_weights[name], tensor, rtol=0, atol=1e-6, msg=name)
    epochs = torch.load(tmp_path / "restarted" / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["epoch"]
    assert epochs == 1 and (tmp_path / "restarted" / "weights.safetensors").is_file()
    assert not (tmp_path / "restarted" / ".restarts").exists()
