"""`geo3d benchmark model rejshand`: the peer is the same network, and the parts that are timed are those of the network."""

from __future__ import annotations

import pytest
import torch
import yaml
from small_hands import NETWORK

from geo3d.models.rejshand import FoldedReJSHand, ReJSHand
from geo3d.tools.benchmarks.networks import rejshand
from geo3d.tools.benchmarks.plain.rejshand import PlainReJSHand

ARGUMENTS = {name: list(value) if isinstance(value, tuple) else value for name, value in NETWORK.items()}  # as YAML has them


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"bone_features": True, "coordinate_attention": True}], ids=["released", "paper"])
def test_peer_is_the_same_network(options):
    network = ReJSHand(**ARGUMENTS, **options).eval()
    network.set_joint_regressor(torch.rand(21, 778).softmax(1))
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    marks: dict[str, list[str]] = {"ours": [], "plain": []}
    expected = network(images)
    ours, _ = rejshand.run_parts(FoldedReJSHand(network), images, marks["ours"].append)
    plain = PlainReJSHand(network)(images, marks["plain"].append)
    torch.testing.assert_close(ours, expected.vertices, rtol=1e-4, atol=1e-5)
    for found, wanted in zip(plain, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert marks["ours"] == marks["plain"] == ["backbone", "heads"]


def test_a_case_of_a_configuration(tmp_path):
    network = {"class_path": "geo3d.models.rejshand.ReJSHand", "init_args": ARGUMENTS}
    data = {"class_path": "geo3d.data.FreiHand", "init_args": {"root": "generated", "image_size": 64}}
    file = tmp_path / "small.yaml"
    file.write_text(
        yaml.safe_dump({"model": {"class_path": "geo3d.tasks.HandMesh", "init_args": {"network": network}}, "data": data})
    )
    [case] = rejshand.make_cases(file, torch.device("cpu")).values()
    assert case.title == "small, one crop of 64 x 64 pixels"
    with torch.inference_mode():
        mine, other = case.ours(lambda part: None)[0], case.peer(lambda part: None)[0]
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
