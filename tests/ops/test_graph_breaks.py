"""A network made of our ops is one graph for `torch.compile`: no op sends it back to Python."""

from __future__ import annotations

import torch
from point_clouds import oriented_cloud

from geo3d.models.risurconv import RISurConvClassifier


def test_risurconv_is_one_graph():
    network = RISurConvClassifier(
        3,
        centers=[64, 32],
        neighbors=[8, 8],
        channels=[8, 8, 16],
        embedding=8,
        encoder_heads=2,
        encoder_layers=1,
        encoder_feedforward=16,
        head=[8],
    ).eval()
    points = oriented_cloud(64, 3, 2).float()
    explained = torch._dynamo.explain(network)(points)
    assert [str(reason.reason) for reason in explained.break_reasons] == []
    assert explained.graph_count == 1
