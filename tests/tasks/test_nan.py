"""The module in which the first number that is not finite arises is named, forwards and backwards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from small_trainings import SMALL
from torch import nn

from geo3d.tasks.nan import FindNaN
from geo3d.tools import train


class Log(nn.Module):
    def forward(self, x):
        return (x - x.detach()).sum(1, keepdim=True).log()  # of 0


class Root(nn.Module):
    def forward(self, x):
        return (x * 0).sqrt().sum(1, keepdim=True)  # finite, but its slope is not


class Network(nn.Module):
    def __init__(self, broken: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.broken = broken
        self.last = nn.Linear(1, 1)

    def forward(self, x):
        return self.last(self.broken(self.first(x)))


def step(network: nn.Module, batch: torch.Tensor | None = None) -> None:
    """A training step with the callback, which is removed afterwards."""
    task = SimpleNamespace(network=network, named_parameters=network.named_parameters)
    trainer, guard = SimpleNamespace(current_epoch=3), FindNaN()
    guard.on_train_start(trainer, task)
    batch = torch.ones(2, 4) if batch is None else batch
    try:
        guard.on_train_batch_start(trainer, task, {"points": batch}, 7)
        network(batch).sum().backward()
    finally:
        guard.on_train_end(trainer, task)
        assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            Log(),
            r"epoch 3, batch 7: network.broken \(Log\): its output \[2, 1\] float32 has infinity in 2 places, from finite inputs",
        ),
        (Root(), r"network.broken \(Root\): the gradient of its input \[2, 4\] .* from finite gradients of its output"),
    ],
)
def test_the_first_module_is_named(broken, message):
    with pytest.raises(FloatingPointError, match=message):
        step(Network(broken))


def test_parameters_and_batches_are_named():
    network = Network(nn.Linear(4, 1))
    step(network)
    with pytest.raises(FloatingPointError, match="batch.points has NaN before any module saw it"):
        step(network, torch.full((2, 4), torch.nan))
    network.first.bias.data[1] = torch.inf
    with pytest.raises(FloatingPointError, match="the parameter first.bias is not finite since the step before"):
        step(network)


def test_train_says_it_in_one_line(tmp_path, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path_factory.getbasetemp() / "geo3d-data"))
    config, *options = SMALL["classification"]
    options += [f"--out={tmp_path}", "--trainer.max_epochs=2", "--trainer.limit_val_batches=0", "--find-nan"]
    assert train.main([config, *options, "--name=good"]) == 0
    assert train.main([config, *options, "--name=bad", "--model.init_args.lr=1e30"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: epoch 0, batch 1: ") and ("network" in error or "parameter" in error)
