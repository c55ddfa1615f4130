"""Trainings on every kind of data: resumed ones are as those that nothing interrupted, and half precision gives finite numbers."""

from __future__ import annotations

import math

import pytest
import torch
from small_trainings import EVERY

from geo3d.tasks.base import Task
from geo3d.tools import train
from geo3d.zoo import network_tensors

SHORT = (
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=2",
    "--data.init_args.num_workers=0",
)


class Stopped(Exception):
    """Ends a training in the middle."""


def content(batch) -> list[float]:
    """A sum of each tensor of a batch: what it holds, and how it was augmented."""
    values = batch if isinstance(batch, tuple) else vars(batch).values()
    return [float(value.double().sum()) for value in values if isinstance(value, torch.Tensor)]


@pytest.fixture
def seen(tmp_path_factory, monkeypatch):
    """Data and rate of every step by epoch and batch, and the last figures; "stop" holds where a training is to end."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path_factory.getbasetemp() / "geo3d-data"))
    steps = {}

    step = Task.training_step

    def begin(self, batch, index):
        if (self.current_epoch, index) == steps.get("stop"):
            raise Stopped
        steps[self.current_epoch, index] = content(batch), self.optimizers().param_groups[0]["lr"]
        return step(self, batch, index)

    def end(self):
        steps["figures"] = {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    monkeypatch.setattr(Task, "training_step", begin)
    monkeypatch.setattr(Task, "on_fit_end", end)
    return steps


def checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)


@pytest.mark.parametrize("task", EVERY)
def test_stopped_and_resumed_is_as_uninterrupted(task, seen, tmp_path):
    """Data, augmentation, rates, weights, optimiser and figures, bitwise; so two trainings with one seed are the same, too."""
    arguments = [*EVERY[task], *SHORT, f"--out={tmp_path}", "--trainer.max_epochs=2"]
    assert train.main([*arguments, "--name=whole"]) == 0
    whole = dict(seen)
    batches = {index for epoch, index in whole.keys() - {"figures"} if epoch == 0}
    assert len(batches) > 1 and whole[0, 0] != whole[1, 0]
    seen.clear()
    seen["stop"] = (1, 1)
    with pytest.raises(Stopped):
        train.main([*arguments, "--name=stopped"])
    assert all(seen[0, index] == whole[0, index] for index in batches)
    seen.clear()
    assert train.main([*arguments, "--name=stopped", "--resume=last"]) == 0
    assert set(seen) == {"figures", *((1, index) for index in batches)}  # the epoch that was interrupted, from its start
    for key, value in seen.items():
        if key != "figures":
            assert value == whole[key], key
    assert seen["figures"] == pytest.approx(whole["figures"], rel=0, abs=0, nan_ok=True)
    first, second = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "stopped")
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(second[part], first[part], rtol=0, atol=0, equal_nan=True, msg=part)


@pytest.mark.parametrize("task", EVERY)
def test_bfloat16_trains_without_nan(task, seen, tmp_path):
    arguments = [*EVERY[task], *SHORT, f"--out={tmp_path}", "--trainer.max_epochs=1", "--trainer.precision=bf16-mixed"]
    assert train.main([*arguments, "--name=half", "--find-nan"]) == 0
    losses = {name: value for name, value in seen["figures"].items() if "loss" in name}
    assert losses and all(map(math.isfinite, losses.values())), losses
    for name, tensor in network_tensors(str(tmp_path / "half" / "weights.safetensors")).items():
        assert tensor.isfinite().all(), name
