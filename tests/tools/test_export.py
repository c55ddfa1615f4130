"""`geo3d export`: ONNX Runtime computes what PyTorch does at any number of voxels, and mistakes are told in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import geo3d
import geo3d.configs
from geo3d.export.dsvt_parts import DeployedBlocks, DeployedPooling, voxel_of_slot
from geo3d.export.networks import check_export, export_network, read_export
from geo3d.models.detection import BevBackbone, TransFusionHead
from geo3d.models.dsvt import DSVTBackbone, DSVTCenter, StageConfig
from geo3d.models.lrgt import LRGT
from geo3d.models.rejshand import ReJSHand
from geo3d.ops import pooling_partition
from geo3d.predict.hands import HandPredictor
from geo3d.tools import export, predict
from geo3d.zoo.configurations import info_of_config, network_and_info
from geo3d.zoo.weights import WeightsInfo, save_weights

CONFIG = Path(geo3d.configs.__file__).parent / "dsvt/generated_pillar.yaml"  # two stages, with pooling between
STAGES = [StageConfig(2, 7, (6, 6, 8), (3, 3, 0)), StageConfig(1, 5, (6, 6, 2), (3, 3, 0), stride=(2, 2, 4))]


def needs_packages() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="the export needs onnx, onnxruntime and onnxscript")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The shipped configuration with fresh weights that find boxes everywhere, exported: network, folder."""
    needs_packages()
    folder = tmp_path_factory.mktemp("onnx")
    torch.manual_seed(0)
    info = info_of_config(CONFIG)
    network = DSVTCenter(**info.arguments).eval()
    with torch.no_grad():
        network.head.branches["heatmap"][-1].bias.zero_()  # high enough scores that boxes are found
    save_weights(folder / "net.safetensors", network, info)
    assert export.main([str(folder / "net.safetensors"), "--out", str(folder / "out")]) == 0
    return network_and_info(str(folder / "net.safetensors"))[0], folder / "out"


def cloud(network, *counts: int) -> tuple[Tensor, Tensor, int]:
    """Points of clouds of so many, all over the range and a little beyond."""
    generator = torch.Generator().manual_seed(sum(counts))
    low, high = torch.tensor(network.point_range).split(3)
    places = low + (high - low) * (1.1 * torch.rand(sum(counts), 3, generator=generator) - 0.05)
    points = torch.cat([places, torch.rand(sum(counts), 1, generator=generator)], 1)
    return points, torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)), len(counts)


@pytest.mark.parametrize("counts", [(1,), (300, 40), (4000,), (0, 7), (0,)], ids=str)
def test_onnx_runtime_agrees(exported, counts):
    network, folder = exported
    batch = cloud(network, *counts)
    with torch.no_grad():
        expected = network(*batch)
    found = read_export(folder)[0](*batch)
    for name in network.head.branches:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-4)


def test_finds_the_same_boxes(exported):
    network, folder = exported
    points = cloud(network, 4000)[0].numpy()
    detector = geo3d.load(folder)
    found = detector(points)
    expected = type(detector)(network, detector.info)(points)
    assert len(found) == len(expected) > 0 and found.class_names == ("Car", "Pedestrian", "Cyclist")
    torch.testing.assert_close(found.detections.scores, expected.detections.scores, rtol=0, atol=1e-4)


def test_predict_takes_the_folder(exported, tmp_path, capsys):
    sweep = tmp_path / "sweep.npy"
    np.save(sweep, cloud(exported[0], 4000)[0].numpy())
    assert predict.main([str(exported[1]), str(sweep), "--out", str(tmp_path)]) == 0
    assert "Car" in capsys.readouterr().out and (tmp_path / "sweep_boxes.json").is_file()
    assert predict.main([str(tmp_path), str(sweep)]) == 2  # a folder of something else
    assert "give a folder that geo3d export wrote" in capsys.readouterr().err


def test_manifest_describes_the_files(exported):
    _, folder = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [(stage["blocks"], stage["pooling"]) for stage in manifest["stages"]] == [
        ("stage0_blocks.onnx", None),
        ("stage1_blocks.onnx", "stage1_pooling.onnx"),
    ]
    inputs = manifest["files"]["stage0_blocks.onnx"]["inputs"]
    blocks = len(manifest["stages"][0]["partition_of_block"])
    assert {name: each["shape"] for name, each in inputs.items()} == {
        "src": ["N", 64],
        "set_voxel_inds_tensor_shift_0": [2, "S_0", 36],
        "set_voxel_masks_tensor_shift_0": [2, "S_0", 36],
        "pos_embed_tensor": [blocks, 2, "N", 64],
    }
    bev = manifest["files"]["map.onnx"]
    assert bev["inputs"]["bev_map"]["shape"] == ["B", 64, 108, 84]
    assert bev["outputs"]["heatmap"]["shape"] == ["B", 3, 108, 84]
    assert manifest["weights"]["labels"]["class_names"] == ["Car", "Pedestrian", "Cyclist"]


def test_blocks_take_both_partitions():
    backbone = DSVTBackbone((32, 16, 8), STAGES, 16, 4, 24).eval()
    stage = backbone.stages[0]
    coords = torch.randint(0, 8, (90, 3)).unique(dim=0)
    coords = torch.cat([torch.zeros_like(coords[:, :1]), coords], 1)
    features = torch.randn(len(coords), 16)
    partition = stage.partition(coords)
    sets = [partition.sets[k] for k in stage.partitions]
    positions = torch.stack([torch.stack(block.embed(partition.windows)) for block in stage.blocks])
    deployed = DeployedBlocks(stage)
    assert deployed.partitions == [0, 1]
    found = deployed(features, *(each.rows for each in sets), *(each.padding for each in sets), positions)
    torch.testing.assert_close(found, stage.attend(features, partition))


@pytest.mark.parametrize("pooling", ["attention", "linear", "max"])
def test_pooling_over_slots(pooling):
    backbone = DSVTBackbone((32, 16, 8), STAGES, 16, 4, 24, pooling=pooling).eval()
    stage = backbone.stages[1]
    nn.init.normal_(stage.pool.position) if pooling == "attention" else None
    coords = torch.randint(0, 8, (90, 3)).unique(dim=0)
    coords = torch.cat([torch.zeros_like(coords[:, :1]), coords], 1)
    features = torch.randn(len(coords), 16)
    expected, cells = stage.pooled(features, coords)
    _, cell, slot = pooling_partition(coords, (2, 2, 4), (32, 16, 8))
    slots = voxel_of_slot(cell, slot, len(cells), 16)
    torch.testing.assert_close(DeployedPooling(stage.pool)(features, slots), expected)


def test_transfusion_head_runs_in_onnx_runtime(tmp_path):
    needs_packages()
    import onnxruntime

    from geo3d.export.dsvt import PROPOSALS
    from geo3d.export.dsvt_parts import DeployedMap
    from geo3d.export.onnx import Part, write_part

    network = nn.Module()
    network.bev, network.head = (
        BevBackbone(6, (0,), (1,), (8,), (1,), (8,)),
        TransFusionHead(8, 3, 5, 16, 8, key_radius=2, crowded_classes=[2]),
    )
    outputs = (*network.head.branches, *PROPOSALS)
    part = Part(
        "map.onnx",
        DeployedMap(network.eval(), list(outputs)).eval(),
        (torch.randn(2, 6, 10, 8),),
        ("bev_map",),
        ({0: "B"},),
        outputs,
    )
    write_part(part, tmp_path / part.file)
    session = onnxruntime.InferenceSession(str(tmp_path / part.file))
    for batch in (1, 3):
        bev_map = torch.randn(batch, 6, 10, 8)
        with torch.no_grad():
            expected = part.module(bev_map)
        for wanted, found in zip(expected, session.run(None, {"bev_map": bev_map.numpy()}), strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-4)


def test_does_not_replace_what_is_there(exported, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    weights = str(exported[1].parent / "net.safetensors")
    assert export.main([weights, "--out", str(exported[1])]) == 2
    assert "exists; choose another --out, or --overwrite" in capsys.readouterr().err
    assert export.main([weights, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "no export of geo3d, so it is not replaced" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_missing_package(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert export.main([str(CONFIG), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "pip install onnx onnxruntime onnxscript" in error and error.count("\n") == 1


@pytest.mark.parametrize("source", ["risurconv-shapes-classifier", "risurconv-shapes-parts"])
def test_a_network_that_cannot_be_exported(source, tmp_path, capsys):
    needs_packages()
    assert export.main([source, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "cannot be exported: ONNX has no operators for its sampling and neighbour search" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("views", [1, 2, 5])
def test_lrgt_with_any_number_of_views(exported_lrgt, views):
    network, onnx = exported_lrgt
    for batch in (1, 3):
        images = torch.rand(batch, views, 3, 32, 32) * 2 - 1
        with torch.no_grad():
            torch.testing.assert_close(onnx(images), network(images), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def exported_lrgt(tmp_path_factory):
    """A network and what reads its export."""
    needs_packages()
    torch.manual_seed(0)
    arguments = {
        "image_size": 32, "channels": 12, "depth": 1, "heads": 2, "grouping_blocks": (0,), "groups": 2, "merged_tokens": (3,),
        "neighbors": 2, "patch_size": 8, "decoder_widths": (4,), "stage_depth": 1,
    }  # fmt: skip
    network = LRGT(**arguments).eval()
    folder = tmp_path_factory.mktemp("lrgt") / "out"
    export_network(network, WeightsInfo("geo3d.models.lrgt.LRGT", arguments, "reconstruction"), folder)
    assert check_export(network, folder) < 1e-4
    return network, read_export(folder)[0]


def test_the_hand_network_is_exported_folded_and_predicts(tmp_path):
    needs_packages()
    torch.manual_seed(0)
    arguments = {
        "backbone": "tf_efficientnet_lite0", "last_stage": True, "image_size": 64, "widths": (16, 12, 8), "map_channels": 16, "heads": 2,
        "num_vertices": 50,
    }  # fmt: skip
    network = ReJSHand(**arguments).eval()
    network.set_joint_regressor(torch.rand(21, 50) / 50)
    info = WeightsInfo("geo3d.models.rejshand.ReJSHand", arguments, "hand_mesh", {}, {"image_size": 64})
    manifest = export_network(network, info, tmp_path / "out")
    assert json.loads(manifest.read_text())["files"]["network.onnx"]["inputs"]["images"]["shape"] == ["B", 3, 64, 64]
    assert check_export(network, tmp_path / "out") < 1e-4
    onnx = read_export(tmp_path / "out")[0]
    images = torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for name, value in network(images)._asdict().items():
            torch.testing.assert_close(getattr(onnx(images), name), value, rtol=0, atol=1e-4)
    photograph = np.random.default_rng(0).integers(256, size=(90, 80, 3), dtype=np.uint8)
    found, expected = geo3d.load(tmp_path / "out")(photograph), HandPredictor(network, info)(photograph)
    np.testing.assert_allclose(found.hands[0].joints, expected.hands[0].joints, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nonsense"], "no weights nonsense and no configuration nonsense"),
        (["nonsense.safetensors"], "no weights nonsense.safetensors"),
        (["README"], "no weights README"),
        (["risurconv-shapes-parts", "--weights", "x.pth"], "are weights already; --weights goes with a configuration"),
    ],
)
def test_mistakes(options, message, tmp_path, capsys):
    needs_packages()
    assert export.main([*options, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_a_file_that_is_no_weights(tmp_path, capsys):
    needs_packages()
    (tmp_path / "net.safetensors").write_bytes(b"nothing")
    (tmp_path / "net.yaml").write_bytes(b"\xff\xfe{")
    for name in ("net.safetensors", "net.yaml"):
        assert export.main([str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        assert name in capsys.readouterr().err


def test_released_weights_go_with_a_configuration(tmp_path):
    info = info_of_config(CONFIG)
    network = DSVTCenter(**info.arguments)
    save_weights(tmp_path / "net.safetensors", network, WeightsInfo("geo3d.models.dsvt.DSVTCenter", {}, "detection"))
    found, _ = network_and_info(str(CONFIG), str(tmp_path / "net.safetensors"))
    torch.testing.assert_close(found.head.shared[0].weight, network.head.shared[0].weight.half().float())
