"""Ctrl-C ends a training with data workers within seconds, says how to go on, and leaves neither processes nor shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_trainings import EVERY

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc, which Linux has")
SECONDS = 30  # two cores that others use, too, may take most of them; an end that waits for the epoch takes longer than all

# Trains; says when the second epoch has begun, and then takes long for every batch.
SCRIPT = """
import signal, sys, time
import torch
from geo3d.tasks.base import Task
from geo3d.tools import train

step = Task.training_step

def slow(self, batch, index):
    if self.current_epoch == 1:
        print("second epoch", flush=True)
        time.sleep(5)
    return step(self, batch, index)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background deaf to it
    torch.set_num_threads(1)
    Task.training_step = slow
    sys.exit(train.main(sys.argv[1:]))
"""


def session(leader: int) -> list[str]:
    """Names of the processes that are alive in the session of one."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().rpartition(")")
        except OSError:  # it has just ended
            continue
        state, _, _, its_leader = fields.split()[:4]
        if int(its_leader) == leader and state != "Z":
            alive.append(name)
    return alive


def shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return (
        {file.name for file in folder.iterdir() if file.name.startswith(("torch_", "psm_", "sem."))}
        if folder.is_dir()
        else set()
    )


# One in the short form; the others, which take as long each, are behind the marker.
@pytest.mark.parametrize("task", [pytest.param(task, marks=[] if task == "parts" else pytest.mark.long) for task in EVERY])
def test_an_interrupt_leaves_nothing_behind(task, tmp_path, tmp_path_factory):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    options = ["--data.init_args.num_workers=2", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    options += [f"--out={tmp_path}", "--name=run", "--trainer.max_epochs=3"]
    environment = {**os.environ, "GEO3D_DATA": str(tmp_path_factory.getbasetemp() / "geo3d-data")}
    before = shared_memory()
    process = subprocess.Popen(
        [sys.executable, str(script), *EVERY[task], *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        for line in process.stdout:
            if "second epoch" in line:
                break
        workers = len(session(process.pid)) - 1
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        began = time.monotonic()
        _, errors = process.communicate(timeout=120)
        took = time.monotonic() - began
    finally:
        left = session(process.pid)
        if left:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130, errors[-5000:]
    assert "interrupted in epoch 2; --resume last repeats this epoch from its start" in errors
    assert workers >= 2 and left == []
    assert took < SECONDS and shared_memory() <= before
