"""A training that is killed and resumed ends with the weights of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_trainings import EVERY

RESUMED = ("classification", "parts")

# Trains; with a last argument "EPOCH,BATCH" it kills itself there.
SCRIPT = """
import os, signal, sys
import torch
from geo3d.tasks.base import Task
from geo3d.tools import train

def kill(self, batch, index):
    if f"{self.current_epoch},{index}" == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    torch.set_num_threads(1)
    Task.on_train_batch_start = kill
    sys.exit(train.main(sys.argv[2:]))
"""


def run(folder: Path, name: str, task: str, *options: str, kill_at: str = "never", workers: int = 1) -> int:
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
    return subprocess.run(command, env=environment, capture_output=True, timeout=240).returncode


# Without workers for one: an iterator of data that begins must not change what dropout draws.
@pytest.mark.parametrize(("task", "workers"), [(task, int(task != "classification")) for task in RESUMED])
def test_killed_and_resumed_is_as_uninterrupted(task, workers, tmp_path):
    assert run(tmp_path, "whole", task, workers=workers) == 0
    assert run(tmp_path, "killed", task, kill_at="1,2", workers=workers) == -signal.SIGKILL
    assert run(tmp_path, "killed", task, "--resume=last", workers=workers) == 0
    whole, killed = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)
        for name in ("whole", "killed")
    )
    assert whole["epoch"] == killed["epoch"] == 2 and whole["global_step"] == killed["global_step"]
    for name, tensor in whole["state_dict"].items():
        torch.testing.assert_close(killed["state_dict"][name], tensor, rtol=0, atol=0, msg=name)
