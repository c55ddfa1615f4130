"""A training does not grow: two thousand steps with validations, checkpoints and logs between them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_trainings import EVERY

STEPS, WARM = 2000, 200
MAX_GROWTH = 20.0  # megabytes

# Trains; prints at the steps that are named the megabytes of memory that the process has, and ends with the last.
SCRIPT = """
import sys
import torch
from geo3d.tasks.base import Task
from geo3d.tools import train

step = Task.training_step
printed = [int(each) for each in sys.argv[1].split(",")]

def measured(self, batch, index):
    if self.global_step in printed:
        pages = int(open("/proc/self/statm").read().split()[1])
        print("resident", self.global_step, pages * 4096 / 2**20, flush=True)
        self.trainer.should_stop = self.global_step == printed[-1]
    return step(self, batch, index)

if __name__ == "__main__":
    torch.set_num_threads(1)
    Task.training_step = measured
    sys.exit(train.main(sys.argv[2:]))
"""


def resident(task: str, folder: Path, steps: list[int]) -> dict[int, float]:
    """Megabytes at steps of a small training."""
    (folder / "train.py").write_text(SCRIPT)
    options = [f"--out={folder}", "--name=run", "--trainer.max_epochs=2000", "--trainer.check_val_every_n_epoch=20"]
    options += ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--data.init_args.num_workers=0"]
    command = [sys.executable, str(folder / "train.py"), ",".join(map(str, steps)), *EVERY[task], *options]
    environment = {**os.environ, "GEO3D_DATA": str(folder / "data")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("resident")]
    return {int(number): float(megabytes) for _, number, megabytes in lines}


@pytest.mark.long
@pytest.mark.parametrize("task", ["classification"])
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc, which Linux has")
def test_two_thousand_steps_grow_by_less_than_twenty_megabytes(task, tmp_path):
    """Bounds what the process of the training keeps between step 200, when compiled functions, optimiser, heap and logger are warm, and
    step 2,000: a batch, a graph or results that something holds on to at each step are 11 kB or more of it, as little as that
    is seen. The data is read in the same process, so that a dataset that keeps what it read is seen, too."""
    found = resident(task, tmp_path, [0, *range(WARM, STEPS + 1, WARM)])
    print(found)
    assert max(found) == STEPS
    assert found[STEPS] - found[WARM] < MAX_GROWTH, found
