"""Networks made of our ops are one graph for `torch.compile`: no op sends it back to Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_contract import MODELS, ready
from torch import nn

import geo3d.ops

OPS = Path(geo3d.ops.__file__).parent
ONE_GRAPH = ("arteq", "hand_detector", "lrgt", "rejshand", "risurconv_classifier", "risurconv_segmentor")
DETECTORS = (
    "dsvt_center",
    "dsvt_transfusion",
)  # sizes that follow from the points: batch norm over rows, whose number torch has to know


def explained(function: Any, *inputs: Any) -> Any:
    """What torch says of the graphs of a function, for which it may leave sizes open."""
    torch._dynamo.reset()
    with torch.no_grad(), torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        return torch._dynamo.explain(function)(*inputs)


def test_every_model_is_here():
    assert sorted((*ONE_GRAPH, *DETECTORS)) == sorted(MODELS)


@pytest.mark.parametrize("name", ONE_GRAPH)
def test_a_network_is_one_graph(name):
    network: Any = ready(MODELS[name].small()).eval()
    found = explained(network, *MODELS[name].inputs(network, (0, 1)))
    assert [str(reason) for reason in found.break_reasons] == []
    assert found.graph_count == 1


@pytest.mark.parametrize("name", DETECTORS)
def test_no_op_breaks_the_graph_of_a_detector(name):
    network: Any = MODELS[name].small().eval()
    found = explained(network, *MODELS[name].inputs(network, (0, 1)))
    by_ops = [str(r) for r in found.break_reasons if any(Path(frame.filename).is_relative_to(OPS) for frame in r.user_stack)]
    assert by_ops == []


@pytest.mark.parametrize("name", DETECTORS)
def test_the_dense_part_of_a_detector_is_one_graph(name):
    """From the bird's-eye map on: the 2D backbone and the head."""
    network: Any = MODELS[name].small().eval()
    columns, rows, _ = network.backbone.out_grid
    found = explained(nn.Sequential(network.bev, network.head), torch.rand(2, 16, rows, columns))
    assert [str(reason) for reason in found.break_reasons] == []
    assert found.graph_count == 1
