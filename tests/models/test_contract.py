"""One contract over all models: what every network, every published configuration and every packaged weight file keeps.

A new model joins by a line in `MODELS`, a new task by one in `SAMPLES`. Small networks run for real. Published ones, which would take
minutes, are built with all their widths on the meta device, where shapes and the reach of gradients come without arithmetic.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import geo3d.configs
from geo3d.export.networks import EXPORTS, NOT_EXPORTED, export_of
from geo3d.models.arteq import ArtEq
from geo3d.models.dsvt import DSVTCenter, DSVTTransFusion, StageConfig
from geo3d.models.lrgt import LRGT
from geo3d.models.rejshand import HandDetector, ReJSHand
from geo3d.models.risurconv import RISurConvClassifier, RISurConvSegmentor
from geo3d.predict import loading
from geo3d.predict.shapes import PartLabeler
from geo3d.zoo import names, weights_path
from geo3d.zoo.configurations import info_of_config
from geo3d.zoo.weights import load_network

SHIPPED = Path(geo3d.configs.__file__).parent
CONFIGS = sorted(path.relative_to(SHIPPED).with_suffix("").as_posix() for path in SHIPPED.rglob("*.yaml"))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}  # products of batches of another size, or of fused operators, are summed in another order
Shapes = dict[str, tuple[int, ...]]  # of the outputs by name, without the batch; "" where there is one
ON_META = "voxels follow from the points, and the meta device has no points"


def draws(seed: int, *shape: int) -> Tensor:
    """Numbers from 0 to 1, the same for a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def oriented_clouds(network: Any, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    """[B, N, 6] with the fewest points that the network takes, and some more."""
    clouds = [draws(seed, network.centers[0] + 8, 6) - 0.5 for seed in seeds]
    return (torch.stack([torch.cat([cloud[:, :3], nn.functional.normalize(cloud[:, 3:], dim=1)], 1) for cloud in clouds]),)


def clouds_with_categories(network: Any, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    return (*oriented_clouds(network, seeds), torch.tensor([seed % network.num_categories for seed in seeds]))


def bodies(network: Any, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    """[B, N, 3] within the size of a body."""
    return (torch.stack([(draws(seed, 150, 3) - 0.5) * torch.tensor([0.6, 1.8, 0.4]) for seed in seeds]),)


def sweeps(network: Any, seeds: Sequence[int]) -> tuple[Any, ...]:
    """Packed points all over the range."""
    low, high = torch.tensor(network.point_range).split(3)
    parts = [draws(seed, 300, network.in_features) for seed in seeds]
    points = torch.cat([torch.cat([low + (high - low) * part[:, :3], part[:, 3:]], 1) for part in parts])
    return points, torch.arange(len(seeds)).repeat_interleave(300), len(seeds)


def views(network: Any, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    """[B, 2, 3, S, S]."""
    return (torch.stack([draws(seed, 2, 3, network.image_size, network.image_size) * 2 - 1 for seed in seeds]),)


def pictures(network: Any, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    """[B, 3, S, S] in 0..255."""
    return (torch.stack([draws(seed, 3, network.image_size, network.image_size) * 255 for seed in seeds]),)


def head_shapes(network: Any) -> Shapes:
    """Of the maps or proposals of a detector."""
    rows, columns = network.bev_grid.shape
    widths = {"center": 2, "center_z": 1, "height": 1, "dim": 3, "rot": 2, "iou": 1, "velocity": 2}
    if isinstance(network, DSVTCenter):
        widths["heatmap"] = network.num_classes
        return {name: (widths[name], rows, columns) for name in network.head.branches}
    proposals, widths["heatmap"] = network.head.num_proposals, network.num_classes
    shapes: Shapes = {name: (proposals, widths[name]) for name in network.head.branches}
    own: Shapes = {"query_cells": (proposals, 2), "query_labels": (proposals,), "query_scores": (proposals,)}
    return shapes | own | {"dense_heatmap": (network.num_classes, rows, columns)}


def hand_maps(network: Any) -> Shapes:
    side = network.image_size // 8
    return {"scores": (2, side, side), "boxes": (4, side, side)}


@dataclasses.dataclass(frozen=True)
class Model:
    """A network's class, arguments that make it small, inputs of chosen items, and shapes of its outputs."""

    kind: type[nn.Module]
    arguments: dict[str, Any]
    inputs: Callable[[Any, Sequence[int]], tuple[Any, ...]]
    shapes: Callable[[Any], Shapes]
    published_on: str = "meta"  # where networks of published sizes are built; not ArtEq's small ones, which read their tables

    def small(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.kind(**self.arguments)


LEVELS = {"centers": (32, 16), "neighbors": (8, 8), "embedding": 16}
UP = {"up_neighbors": (8, 8), "up_channels": (32, 16), "up_mlp": (16,), "num_parts": 5, "num_categories": 3}
BEV = {"bev_blocks": (0, 0), "bev_strides": (1, 2), "bev_channels": (8, 8), "bev_up_strides": (1, 2), "bev_up_channels": (8, 8)}
POINTS = {
    "num_classes": 3,
    "in_features": 4,
    "point_range": (0.0, -5.12, -3.0, 10.24, 5.12, 1.0),
    "voxel_size": (0.64, 0.64, 4.0),
}
STREET = {**POINTS, **BEV, "stages": [StageConfig(1, 8, (4, 4, 1), (2, 2, 0))], "channels": 16, "heads": 2}
PROPOSALS = {"num_proposals": 10, "hidden": 16, "key_radius": 2, "crowded_classes": (2,), "any_height": False}
VIEWS = {"image_size": 32, "patch_size": 8, "channels": 12, "depth": 1, "heads": 2, "grouping_blocks": (0,), "groups": 2}
GRID = {"merged_tokens": (6, 6), "neighbors": 3, "decoder_widths": (4,), "stage_depth": 1}
HAND = {"backbone": "tf_efficientnet_lite0", "last_stage": True, "image_size": 64, "widths": (16, 16, 8), "map_channels": 16}

MODELS = {  # a new model: a line here
    "arteq": Model(ArtEq, {"widths": (8, 8), "neighbors": 8, "kernel_size": 12, "hidden": 16, "heads": 2}, bodies, lambda n: {
        "part_logits": (150, 22), "rotations": (22, 3, 3), "betas": (10,), "anchor_weights": (22, 60)}, "cpu"),
    "dsvt_center": Model(DSVTCenter, {**STREET, "head_channels": 16}, sweeps, head_shapes),
    "dsvt_transfusion": Model(DSVTTransFusion, {**STREET, **PROPOSALS}, sweeps, head_shapes),
    "hand_detector": Model(HandDetector, {"image_size": 64, "channels": 16}, pictures, hand_maps),
    "lrgt": Model(LRGT, {**VIEWS, **GRID}, views, lambda n: {"": (n.voxel_side,) * 3}),
    "rejshand": Model(ReJSHand, HAND, pictures, lambda n: {"keypoints": (21, 2), "joints": (21, 3), "vertices": (778, 3), "scores": ()}),
    "risurconv_classifier": Model(RISurConvClassifier, {**LEVELS, "num_classes": 4, "channels": (16, 16, 32)}, oriented_clouds,
                                  lambda n: {"": (n.classify.out_features,)}),
    "risurconv_segmentor": Model(RISurConvSegmentor, {**LEVELS, **UP, "channels": (16, 32)}, clouds_with_categories,
                                 lambda n: {"": (n.centers[0] + 8, n.classify.out_features)}),
}  # fmt: skip


def ready(network: nn.Module) -> nn.Module:
    """With what fresh weights lack: a hand's regressor, which belongs to the hand model, and definite rotations."""
    if isinstance(network, ReJSHand) and network.joint_regressor.device.type != "meta":
        network.set_joint_regressor(torch.full_like(network.joint_regressor, 1 / network.joint_regressor.shape[1]))
    if isinstance(network, ArtEq):  # fresh weights average all anchors alike, and that mean is near no rotation
        nn.init.normal_(network.anchor_head.weight, std=100.0)
    return network


def tensors(outputs: Any) -> dict[str, Tensor]:
    """Outputs by name."""
    if isinstance(outputs, Tensor):
        return {"": outputs}
    fields = outputs._fields if isinstance(outputs, tuple) else [each.name for each in dataclasses.fields(outputs)]
    return {name: getattr(outputs, name) for name in fields if getattr(outputs, name) is not None}


@torch.no_grad()
def run(network: nn.Module, model: Model, seeds: Sequence[int]) -> dict[str, Tensor]:
    return tensors(network.eval()(*model.inputs(network, seeds)))


def check_shapes_and_values(network: nn.Module, model: Model) -> None:
    found = run(network, model, (0, 1))
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        name: (2, *shape) for name, shape in model.shapes(network).items()
    }
    assert all(value.isfinite().all() for value in found.values())


def check_batch_of_one(network: nn.Module, model: Model) -> None:
    together, alone = run(network, model, (0, 1, 2)), run(network, model, (1,))
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:2], value, **CLOSE)


def check_gradients(network: nn.Module, outputs: Any) -> None:
    """A gradient of all outputs in every trainable parameter."""
    torch.stack([value.float().square().sum() for value in tensors(outputs).values() if value.requires_grad]).sum().backward()
    missing = [name for name, parameter in network.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not missing
    if next(network.parameters()).device.type != "meta":
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.fixture(autouse=True)
def _one_thread():
    """The networks are too small for more, and sums of two threads are not those of one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=list(MODELS))
def model(request) -> Model:
    return MODELS[request.param]


def test_shapes_and_finite_values(model):
    check_shapes_and_values(ready(model.small()), model)


def test_a_gradient_in_every_parameter(model):
    network = ready(model.small()).train()
    check_gradients(network, network(*model.inputs(network, (0, 1))))


def test_a_batch_of_one_is_that_item_of_a_larger_batch(model):
    check_batch_of_one(ready(model.small()), model)


def test_state_dict_round_trip(model):
    network, other = ready(model.small(0)), model.small(1)
    other.load_state_dict(network.state_dict(), strict=True)
    expected, found = run(network, model, (0,)), run(other, model, (0,))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_torch_compile(model):
    network = ready(model.small()).eval()
    expected = run(network, model, (0, 1))
    torch._dynamo.reset()
    compiled: Any = torch.compile(network, backend="eager")  # the graphs are those of any backend, without its minutes
    with torch.no_grad():
        found = tensors(compiled(*model.inputs(network, (0, 1))))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **CLOSE)


def test_export_or_the_reason_against_it(model):
    """The modules that are exported give the network's results; tests/tools/test_export.py runs their files in ONNX Runtime."""
    network = ready(model.small()).eval()
    if model.kind in NOT_EXPORTED:
        with pytest.raises(ValueError, match=f"{model.kind.__name__} cannot be exported: .+"):
            export_of(network)
        return
    export = export_of(network)
    with torch.no_grad():
        results = [part.module(*part.example) for part in export.parts]
        expected = tensors(network(*export.trial))
    counts = [1 if isinstance(result, Tensor) else len(result) for result in results]
    assert counts == [len(part.outputs) for part in export.parts]
    if len(export.parts) == 1:
        found = results[0] if isinstance(results[0], tuple) else (results[0],)
        for mine, theirs in zip(found, expected.values(), strict=True):
            torch.testing.assert_close(mine, theirs, **CLOSE)
    assert set(export.compared) <= set(expected)


@pytest.fixture(params=CONFIGS)
def published(request) -> tuple[Model, nn.Module]:
    """The network of a configuration, and its line."""
    info = info_of_config(SHIPPED / f"{request.param}.yaml")
    module, _, name = info.network.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    found = [model for model in MODELS.values() if model.kind is kind]
    assert found, f"{request.param}: {name} has no line in MODELS"
    device = found[0].published_on
    with torch.device(device):
        return found[0], kind(**info.arguments).to(device)  # what is made from arrays is elsewhere until then


def test_published_networks(published, monkeypatch):
    """Build, export or a reason, state dict; shapes and gradients where no points decide them."""
    model, network = published
    assert any(issubclass(model.kind, kind) for kind in (*EXPORTS, *NOT_EXPORTED))
    network.load_state_dict(network.state_dict(), strict=True)
    inputs = model.inputs(network, (0, 1))
    if model.inputs is sweeps:
        pytest.skip(f"shapes and gradients: {ON_META}; the same class runs in the tests of small networks")
    monkeypatch.setattr(
        torch, "autocast", lambda *args, **options: contextlib.nullcontext()
    )  # it does not know the meta device
    outputs = network.train()(*(value.to(model.published_on) for value in inputs))
    expected = {name: (2, *shape) for name, shape in model.shapes(network).items()}
    assert {name: tuple(value.shape) for name, value in tensors(outputs).items()} == expected
    check_gradients(network, outputs)


CLOUD = np.random.default_rng(0).normal(size=(600, 3))
PICTURE = np.random.default_rng(0).integers(256, size=(120, 100, 3), dtype=np.uint8)
SAMPLES: dict[str, tuple[Any, Callable[[Any], bool]]] = {  # by task: what users have, and whether a result is one
    "body_fitting": (CLOUD * [0.1, 0.4, 0.1], lambda fit: bool(np.isfinite(fit.vertices).all())),
    "classification": (CLOUD, lambda scores: math.isclose(sum(value for _, value in scores.top(1000)), 1, abs_tol=1e-3)),
    "detection": (np.abs(CLOUD) @ np.diag([20, 5, -1]), lambda found: bool(found.detections.boxes.isfinite().all())),
    "hand_detection": (PICTURE, lambda found: found is not None),
    "hand_mesh": (PICTURE, lambda found: bool(np.isfinite(found.hands[0].vertices).all())),
    "part_segmentation": (CLOUD, lambda parts: len(parts.labels) == len(parts.points) > 0),
    "reconstruction": ([PICTURE, PICTURE], lambda found: bool(np.isfinite(found.occupancy).all())),
}


@pytest.mark.parametrize("name", names())
def test_packaged_weights(name):
    network, info = load_network(weights_path(name))
    [model] = [model for model in MODELS.values() if type(network) is model.kind]
    check_shapes_and_values(network, model)
    check_batch_of_one(network, model)
    type(network)(**info.arguments).load_state_dict(network.state_dict(), strict=True)
    source, is_good = SAMPLES[info.task]
    predictor = loading.predictor_for(network, info)
    assert is_good(predictor(source, *([predictor.category_names[0]] if isinstance(predictor, PartLabeler) else [])))


def test_every_predictor_has_a_sample():
    assert set(SAMPLES) == set(loading.PREDICTORS)
