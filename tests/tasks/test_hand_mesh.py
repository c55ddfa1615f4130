"""Training and testing of hand meshes on a small folder in FreiHAND's layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from data.hands.hand_folders import write_freihand
from safetensors import safe_open

from geo3d.models.rejshand import ReJSHand
from geo3d.tasks import HandMesh
from geo3d.tasks.schedules import HandSteps
from geo3d.tools.cli import main

NETWORK = "--model.init_args.network.init_args"
SMALL = [
    "--data.init_args.generate=null",
    "--data.init_args.batch_size=2",
    "--data.init_args.image_size=64",
    f"{NETWORK}.image_size=64",
    f"{NETWORK}.token_counts=[30,50]",
    f"{NETWORK}.widths=[32,16,16]",
    f"{NETWORK}.map_channels=32",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


def test_trains_and_tests(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    root = f"--data.init_args.root={write_freihand(tmp_path / 'hands')}"
    arguments = ["rejshand/generated_small", root, *SMALL]
    assert main(["train", *arguments, "--out", str(tmp_path), "--name", "run", "--trainer.max_epochs=2"]) == 0
    weights = tmp_path / "run" / "weights.safetensors"
    with safe_open(str(weights), framework="pt") as file:
        info = json.loads(file.metadata()["geo3d"])
        assert info["task"] == "hand_mesh" and info["preprocessing"]["image_size"] == 64
        assert {"val/pa_mpjpe_mm", "val/pa_mpvpe_mm", "val/f_5mm", "val/camera_root_mm"} <= set(info["metrics"])
        assert file.get_tensor("joint_regressor").sum().item() == pytest.approx(21, abs=0.05)
    predictions = tmp_path / "pred.json"
    option = f"--model.init_args.predictions_file={predictions}"
    assert main(["test", arguments[0], "--weights", str(weights), *arguments[1:], option]) == 0
    assert "pa_mpjpe_mm" in capsys.readouterr().out
    joints, vertices = json.loads(predictions.read_text())
    assert np.shape(joints) == (3, 21, 3) and np.shape(vertices) == (3, 778, 3)


def network() -> ReJSHand:
    return ReJSHand("tf_efficientnet_lite0", image_size=64, token_counts=(30, 50), widths=(32, 16, 16), map_channels=32)


@pytest.mark.parametrize("by_name", [False, True])
def test_biases_and_norms_are_not_decayed(by_name):
    task = HandMesh(network(), decay_by_name=by_name)

    class Trainer:
        max_epochs, max_steps = -1, 10

    task._trainer = Trainer()  # type: ignore[assignment]
    decayed, others = task.configure_optimizers()["optimizer"].param_groups
    assert decayed["weight_decay"] == 0.01 and others["weight_decay"] == 0
    free = {id(parameter) for parameter in others["params"]}
    names = dict(task.network.named_parameters())
    assert id(names["keypoints.bias"]) in free and id(names["keypoints.weight"]) not in free
    assert (id(names["mesh_head.norm.weight"]) in free) != by_name  # published: its name has neither "bn" nor "bias"


def test_the_packaged_hand_gives_the_joints():
    task = HandMesh(network())
    torch.testing.assert_close(task.network.joint_regressor.sum(1), torch.ones(21), rtol=1e-4, atol=1e-4)


def test_published_rate_rises_holds_and_drops():
    steps = HandSteps()
    factors = [steps.factor(step, 51200) for step in range(51200)]
    assert factors[0] == 0 and factors[1279] == pytest.approx(1) and factors[25599] == 1
    assert factors[25600] == pytest.approx(0.1) and factors[-1] == pytest.approx(0.1)
    np.testing.assert_allclose(factors[:1280], np.linspace(0, 1, 1280), atol=1e-12)
    falling = [HandSteps(0.1, drop=0.02, cosine=True).factor(step, 1000) for step in range(100, 1000)]
    assert all(a >= b for a, b in zip(falling, falling[1:], strict=False)) and falling[-1] == pytest.approx(0.02, abs=1e-3)


def test_sizes_that_differ_are_told(tmp_path, monkeypatch, capsys):
    root = f"--data.init_args.root={tmp_path}"
    arguments = [argument for argument in SMALL if "data.init_args.image_size" not in argument]
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    write_freihand(tmp_path / "hands")
    root = f"--data.init_args.root={tmp_path / 'hands'}"
    assert main(["train", "rejshand/generated_small", root, *arguments, "--out", str(tmp_path), "--name", "x"]) == 2
    assert "the network has image_size 64, the data 160" in capsys.readouterr().err
