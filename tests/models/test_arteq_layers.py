"""ArtEq: the group of rotations, its kernel points, layers by their definition, neighbourhoods as released."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from limbed_figures import figure
from shared_folders import PARITY

from geo3d.models.arteq import IntraConv, LayerSettings, PointFeatures, SeparableBlock, icosahedral_group, kernel_points
from geo3d.models.arteq.group import IDENTITY
from geo3d.models.arteq.group_conv import group_conv, normalized_leaky_relu
from geo3d.models.arteq.neighborhoods import canonical_order, neighbors_in_ball, released_samples


def test_group():
    group = icosahedral_group()
    turns = group.rotations[group.products]
    torch.testing.assert_close(turns, group.rotations[:, None] @ group.rotations)
    torch.testing.assert_close(group.rotations[IDENTITY], torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(group.rotations.sum(0), torch.zeros(3, 3, dtype=torch.float64), rtol=0, atol=1e-12)
    for element in range(60):  # left multiplication turns neighbours into neighbours
        moved = group.products[element]
        assert torch.equal(moved[group.neighbors], group.neighbors[moved])
    assert (group.neighbors == torch.arange(60)[:, None]).sum(1).tolist() == [1] * 60
    assert torch.equal(group.neighbors.sort(0).values, torch.arange(60)[:, None].expand(60, 12))


def test_constants_are_the_published_ones():
    file = PARITY / "arteq" / "constants.npz"
    if not file.is_file():
        pytest.skip(f"no {file} (GEO3D_PARITY); the copied parity cases compare the same constants")
    with np.load(file) as stored:
        np.testing.assert_allclose(icosahedral_group().rotations.numpy(), stored["anchors"], atol=2e-6)
        np.testing.assert_array_equal(icosahedral_group().neighbors.numpy(), stored["intra_idx"])
        np.testing.assert_array_equal(icosahedral_group().products.numpy(), stored["multiplication"])
        np.testing.assert_allclose(kernel_points().numpy(), stored["kernel_unit"], atol=1e-6)


def test_fewer_kernel_points_are_spread_out():
    few = kernel_points(12)
    assert few[0].tolist() == [0, 0, 0] and len(few) == 12
    assert torch.pdist(few).min() > 0.7
    with pytest.raises(ValueError, match="count must be 1 to 24, got 25"):
        kernel_points(25)


def test_group_convolution_by_definition():
    torch.manual_seed(0)
    features = torch.randn(2, 60, 5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 12, 4, dtype=torch.float64, requires_grad=True)
    table = icosahedral_group().neighbors
    expected = torch.einsum("bakpc,okc->bapo", features[:, table], weight)
    ours = group_conv(features, table.tolist(), weight)
    torch.testing.assert_close(ours, expected)
    grad = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (features, weight), grad), torch.autograd.grad(expected, (features, weight), grad)
    )


def test_normalisation_by_definition():
    features = (3 * torch.randn(2, 7, 5, 4, dtype=torch.float64) + 1).requires_grad_()
    channels_first = features.movedim(-1, 1)
    expected = torch.nn.functional.leaky_relu(torch.nn.functional.instance_norm(channels_first), 0.01).movedim(1, -1)
    ours = normalized_leaky_relu(features)
    torch.testing.assert_close(ours, expected)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(torch.autograd.grad(ours, features, grad), torch.autograd.grad(expected, features, grad))


def test_a_block_permutes_the_anchors():
    """The equivariance of one layer, feature by feature: anchor a of the turned cloud is what anchor h a was before."""
    torch.manual_seed(0)
    block = SeparableBlock(LayerSettings(3, 5, 2, 0.4, 0.08, 16, True))
    points = canonical_order(figure(80)[None])
    group, element = icosahedral_group(), 17
    features = torch.randn(1, 60, 80, 3)
    before = block(PointFeatures(points, features)).features
    back = group.products[(group.products[element] == IDENTITY).nonzero()[0, 0]]  # a -> h^-1 a
    turned = PointFeatures(points @ group.rotations[element].T, features[:, back])
    torch.testing.assert_close(block(turned).features, before[:, back], rtol=1e-4, atol=1e-4)


def test_canonical_order_begins_far_out_and_keeps_all_points():
    points = figure(100)
    ordered = canonical_order(points[None])[0]
    centered = points - points.mean(0)
    assert torch.equal(ordered[0], points[centered.norm(dim=1).argmax()])
    assert torch.equal(ordered.unique(dim=0), points.unique(dim=0))


def test_lists_as_released():
    """A list that is one short ends with the cloud's first point, others repeat themselves from their start."""
    points = torch.tensor([[[9.0, 0, 0], [0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [1, 0, 0]]])
    lists = neighbors_in_ball(points[:, 1:], points, 0.15, 3, as_released=True)[0].tolist()
    assert lists == [[1, 2, 0], [1, 2, 3], [2, 3, 0], [4, 4, 4]]
    lists = neighbors_in_ball(points[:, 1:2], points, 0.15, 7, as_released=True)[0].tolist()
    assert lists == [[1, 2, 1, 2, 1, 2, 1]]
    assert neighbors_in_ball(points[:, 1:2], points, 0.15, 4)[0].tolist() == [[1, 2, -1, -1]]


def test_released_samples_avoid_the_origin():
    points = torch.tensor([[[0.0, 0, 0.01], [1, 0, 0], [0, 0.02, 0], [0, 0, 0.5], [0, 0.03, 0.03]]])
    assert released_samples(points, 4).tolist() == [[0, 1, 3, 4]]
    assert released_samples(points[:, :3], 3).tolist() == [[0, 1, 0]]  # nothing left: the first again


def test_intra_conv_has_no_bias():
    assert [name for name, _ in IntraConv(2, 3).named_parameters()] == ["weight"]
