"""`geo3d benchmark model arteq`: the peer is the same network, and the parts that are timed are those of the network."""

from __future__ import annotations

import pytest
import torch
import yaml

from geo3d.models.arteq import ArtEq
from geo3d.tools.benchmarks.networks import arteq
from geo3d.tools.benchmarks.plain.arteq import PlainArtEq
from geo3d.zoo.configurations import config_path

ARGUMENTS = {"widths": [4, 8], "neighbors": 6, "kernel_size": 5, "hidden": 16, "heads": 2}
PARTS = ["block 1", "block 2", "block 3", "block 4", "segmentation", "pose and shape"]


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [{}, {"as_released": True}, {"kinematic_conditioning": False, "widths": [8]}],
    ids=["default", "released", "one level without conditioning"],
)
def test_peer_is_the_same_network(options):
    torch.manual_seed(0)
    network = ArtEq(**{**ARGUMENTS, **options}).double().eval()
    points = arteq.scan_of(300).double().repeat(2, 1, 1)
    other = points[1].flip(0)  # in another order, and moved so that `as_released` may not take the second sample
    points[1] = other - other[(other - other[0]).norm(dim=1).argmax()]
    marks: dict[str, list[str]] = {"ours": [], "plain": []}
    expected = network(points)
    ours = arteq.run_parts(network, points, marks["ours"].append)
    plain = PlainArtEq(network)(points, marks["plain"].append)
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(ours, expected, strict=True))
    for name, wanted in expected._asdict().items():
        torch.testing.assert_close(getattr(plain, name), wanted, rtol=0, atol=1e-9, msg=name)
    blocks = 2 * len(network.encoder.levels)
    assert marks["ours"] == marks["plain"] == [*PARTS[:blocks], *PARTS[4:]]


def test_a_case_of_a_configuration(tmp_path):
    network = {"class_path": "geo3d.models.arteq.ArtEq", "init_args": ARGUMENTS}
    data = {"class_path": "geo3d.data.Amass", "init_args": {"root": "generated", "num_points": 256}}
    file = tmp_path / "small.yaml"
    file.write_text(
        yaml.safe_dump({"model": {"class_path": "geo3d.tasks.BodyFitting", "init_args": {"network": network}}, "data": data})
    )
    [case] = arteq.make_cases(file, torch.device("cpu")).values()
    assert case.title == "small, a scan of 256 points"
    with torch.inference_mode():
        mine, other = case.ours(lambda part: None)[0], case.peer(lambda part: None)[0]
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-4 * float(mine.abs().max()))


def test_a_configuration_of_another_model():
    with pytest.raises(ValueError, match="expected the configuration of ArtEq, got one of LRGT"):
        arteq.make_cases(config_path("lrgt/generated"), torch.device("cpu"))
