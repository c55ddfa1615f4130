"""A training that is killed and resumed ends with the weights of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_trainings import EVERY

RESUMED = ("classification", "parts", "detection", "hands")

# Trains; with a last argument "EPOCH,BATCH" it kills itself there.
SCRIPT = """
import os, signal, sys
import torch
from geo3d.tasks.base import Task
from geo3d.tools import train

step = Task.training_step

def kill(self, batch, index):
    if f"{self.current_epoch},{index}" == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)

if __name__ == "__main__":
    torch.set_num_threads(1)
    Task.training_step = kill
    sys.exit(train.main(sys.argv[2:]))
"""


def run(folder: Path, name: str, task: str, *options: str, kill_at: str = "never", workers: int = 1) -> int:
    return start(folder, name, task, *options, kill_at=kill_at, workers=workers).wait(600)


def start(
    folder: Path, name: str, task: str, *options: str, kill_at: str = "never", workers: int = 1
) -> subprocess.Popen[bytes]:
    script = folder / "train.py"
    script.write_text(SCRIPT)
    config, *small = EVERY[task]
    common = [f"--out={folder}", f"--name={name}", "--trainer.max_epochs=3", "--trainer.enable_progress_bar=false"]
    command = [
        sys.executable,
        str(script),
        kill_at,
        config,
        *small,
        *common,
        f"--data.init_args.num_workers={workers}",
        *options,
    ]
    environment = {**os.environ, "GEO3D_DATA": str(folder / "data")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.long
@pytest.mark.parametrize("task", EVERY)
def test_killed_at_any_moment_and_resumed_is_as_uninterrupted(task, tmp_path):
    """Killed from outside twice, each time at a random moment after a first checkpoint, which may be while one is written."""
    seed = time.time_ns() % 2**32
    moments = random.Random(seed)
    began = time.monotonic()
    assert run(tmp_path, "whole", task) == 0
    took = time.monotonic() - began
    last, resume = tmp_path / "killed" / "checkpoints" / "last.ckpt", ()
    for _ in range(2):
        process = start(tmp_path, "killed", task, *resume)
        while process.poll() is None and not last.exists():
            time.sleep(0.01)
        try:
            process.wait(moments.uniform(0, 0.7 * took))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        resume = ("--resume=last",)
    assert run(tmp_path, "killed", task, *resume) == 0
    assert_same(tmp_path, f"moments of {seed}")


# Without workers for one: an iterator of data that begins must not change what dropout draws.
@pytest.mark.parametrize(("task", "workers"), [(task, int(task != "classification")) for task in RESUMED])
def test_killed_and_resumed_is_as_uninterrupted(task, workers, tmp_path):
    assert run(tmp_path, "whole", task, workers=workers) == 0
    assert run(tmp_path, "killed", task, kill_at="1,2", workers=workers) == -signal.SIGKILL
    assert run(tmp_path, "killed", task, "--resume=last", workers=workers) == 0
    assert_same(tmp_path, task)


def assert_same(folder: Path, message: str) -> None:
    """The checkpoints at the end of the runs "whole" and "killed" have the same weights, and so has what optimises them."""
    whole, killed = (
        torch.load(folder / name / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
        for name in ("whole", "killed")
    )
    assert whole["epoch"] == killed["epoch"] == 2 and whole["global_step"] == killed["global_step"], message
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(killed[part], whole[part], rtol=0, atol=0, msg=f"{message}: {part}")
