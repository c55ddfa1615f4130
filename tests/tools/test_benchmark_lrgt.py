"""`geo3d benchmark model lrgt`: the peer is the same network, and the parts that are timed are those of the network."""

from __future__ import annotations

import argparse

import pytest
import torch
import yaml

from geo3d.models.lrgt import LRGT
from geo3d.tools.benchmarks import models
from geo3d.tools.benchmarks.networks import lrgt
from geo3d.tools.benchmarks.plain.lrgt import PlainLRGT

ARGUMENTS = {
    "image_size": 32,
    "patch_size": 8,
    "channels": 24,
    "depth": 4,
    "heads": 4,
    "grouping_blocks": [1, 3],
    "groups": 2,
    "merged_tokens": [12, 8],
    "neighbors": 5,
    "decoder_widths": [8, 4, 2],
}
DATA = {"class_path": "geo3d.data.Pix3D", "init_args": {"root": "nowhere"}}


@pytest.fixture
def path(tmp_path):
    network = {"class_path": "geo3d.models.lrgt.LRGT", "init_args": ARGUMENTS}
    file = tmp_path / "small.yaml"
    file.write_text(
        yaml.safe_dump({"model": {"class_path": "geo3d.tasks.Reconstruction", "init_args": {"network": network}}, "data": DATA})
    )
    return file


@torch.no_grad()
@pytest.mark.parametrize("views", [1, 3])
def test_peer_is_the_same_network(views):
    network = LRGT(**ARGUMENTS).eval()
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and "queries" not in name:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    images = torch.rand(2, views, 3, 32, 32) * 2 - 1
    marks: dict[str, list[str]] = {"ours": [], "plain": []}
    expected = network(images)
    assert expected.std() > 1e-3
    ours, _ = lrgt.run_parts(network, images, marks["ours"].append)
    assert torch.equal(ours, expected)
    plain = PlainLRGT(network, exact=True)(images, marks["plain"].append)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-5)
    assert marks["ours"] == marks["plain"] == ["encoder", "merger", "decoder"]


def test_a_case_for_each_number_of_views(path):
    cases = lrgt.make_cases(path, torch.device("cpu"))
    assert list(cases) == ["small_1", "small_3", "small_8", "small_20"]
    assert cases["small_1"].title == "small, one object, 1 view of 32 x 32 pixels"
    with torch.inference_mode():
        assert cases["small_3"].ours(lambda name: None)[0].shape == (1, 32, 32, 32)


def test_what_is_refused(path, tmp_path):
    def arguments(**options) -> argparse.Namespace:
        return argparse.Namespace(**({"name": "lrgt", "config": str(path), "select": None, "compile": False} | options))

    assert models.configurations(arguments()) == [path]
    with pytest.raises(ValueError, match="lrgt has none"):
        models.configurations(arguments(compile=True))
    with pytest.raises(ValueError, match="expected one of arteq, dsvt, lrgt, rejshand, got pointnet"):
        models.configurations(arguments(name="pointnet"))
    (tmp_path / "other.yaml").write_text("model: 3\n")
    with pytest.raises(ValueError, match="other.yaml: expected the configuration of a network, got TypeError"):
        models.configurations(arguments(config=str(tmp_path / "other.yaml")))
