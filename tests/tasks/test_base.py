"""What every task has from `Task`: names of what is logged, metrics that start afresh, the best checkpoint by highest or lowest."""

from __future__ import annotations

import lightning
import pytest
import torch
from torch import nn

from geo3d.tasks import Classification
from geo3d.tasks.base import Task
from geo3d.tools.lightning_cli import Cli


class Distance(Task):
    """Moves one number towards those of the data; the metric is their mean distance, of which less is better."""

    name, monitor, monitor_mode = "distance", "val/distance", "min"

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 1, bias=False), lr=0.1)
        nn.init.ones_(self.network.weight)
        self.seen: list[torch.Tensor] = []

    def outputs(self, batch):
        return self.network(batch)

    def losses(self, outputs, batch):
        return {"loss": (outputs - 3 * batch).square().mean(), "bias": outputs.mean()}

    def batch_size(self, batch):
        return len(batch)

    def evaluated(self, batch, stage):
        return [("", batch)] if stage == "val" else [("_once", batch), ("_doubled", 2 * batch)]

    def update_metrics(self, outputs, batch):
        self.seen.append((outputs - 3 * batch).abs())

    def compute_metrics(self, stage):
        value = torch.cat(self.seen).mean()
        self.seen = []
        return {"distance": value}


def trainer(**options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    return lightning.Trainer(accelerator="cpu", **(quiet | options))


def loader():
    return torch.utils.data.DataLoader(torch.tensor([[1.0], [1.0], [4.0]]), batch_size=2)


def test_validation_and_test_are_logged_by_stage():
    task = Distance()
    [validated] = trainer().validate(task, loader(), verbose=False)
    assert validated == pytest.approx({"val/loss": (4 * 2 + 64) / 3, "val/distance": 4.0})  # distances 2, 2, 8; mean by item
    [tested] = trainer().test(task, loader(), verbose=False)
    expected = {"test/loss_once": 24.0, "test/loss_doubled": 96.0, "test/distance": 6.0}
    assert tested == pytest.approx(expected)  # the metric started afresh


def test_training_logs_every_term_and_the_best_is_the_lowest(tmp_path):
    best = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, "best", monitor=Distance.monitor, mode=Distance.monitor_mode)
    run = trainer(max_epochs=3, callbacks=[best], enable_checkpointing=True, default_root_dir=tmp_path)
    task = Distance()
    run.fit(task, loader(), loader())
    assert {"train/loss", "train/bias", "val/distance"} <= set(run.callback_metrics)
    assert best.best_model_score == run.callback_metrics["val/distance"] < 4


@pytest.mark.parametrize("mode", ["max", "min"])
def test_training_tool_keeps_the_best_in_the_direction_of_the_task(mode, tmp_path, monkeypatch):
    monkeypatch.setattr(Classification, "monitor_mode", mode)
    cli = Cli(["risurconv/generated_classification", f"--out={tmp_path}"])
    [best] = [callback for callback in cli.trainer.checkpoint_callbacks if callback.monitor is not None]
    assert (best.monitor, best.mode) == ("val/accuracy", mode)


def test_a_task_without_losses_or_metrics_is_not_a_task():
    with pytest.raises(TypeError, match="abstract"):
        Task(nn.Linear(1, 1))


class Numbers(lightning.LightningDataModule):
    """Five batches."""

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(10, 1), batch_size=2)


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 3},
        {"max_epochs": 3, "accumulate_grad_batches": 2},
        {"max_epochs": 3, "limit_train_batches": 2},
        {"max_epochs": 3, "limit_train_batches": 0.7},
        {"max_epochs": 3, "limit_train_batches": 9},
        {"max_epochs": 3, "max_steps": 4},
        {"max_epochs": -1, "max_steps": 6},
    ],
)
def test_steps_of_a_training_are_those_that_lightning_tells_too_late(options):
    task, counted = Distance(), []
    task.on_train_start = lambda: counted.append((task.total_steps(), task.trainer.estimated_stepping_batches))
    run = trainer(limit_val_batches=0, **options)
    run.fit(task, Numbers())
    [(ours, lightnings)] = counted
    assert ours == lightnings == run.global_step


def test_a_schedule_by_step_needs_an_end():
    task = Distance()
    task.trainer = trainer(max_epochs=-1)
    with pytest.raises(ValueError, match="Distance: the schedule needs an end; set trainer.max_epochs or trainer.max_steps"):
        task.total_steps()
