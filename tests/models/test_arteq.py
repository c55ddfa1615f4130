"""ArtEq: equivariance, invariance to order, place and batch, as promised; gradients, losses and errors."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from limbed_figures import figure
from parity.case_files import find_cases
from scipy.spatial.transform import Rotation

from geo3d.body import SMPL_PARENTS
from geo3d.models.arteq import (
    ArtEq,
    ArtEqLoss,
    AttentionStack,
    BodyEstimate,
    BodyModelLoss,
    BodyTargets,
    encoder_layers,
    icosahedral_group,
)
from geo3d.zoo import convert_official

SMALL = {"widths": (8, 16), "neighbors": 16, "kernel_size": 12, "hidden": 16, "heads": 4}


ROTATIONS = icosahedral_group().rotations


@functools.cache
def network(**options) -> ArtEq:
    torch.manual_seed(0)
    model = ArtEq(**{**SMALL, **options})
    with torch.no_grad():  # rotations of a fresh network hang on rounding: its weights of the anchors are nearly equal
        model.anchor_head.weight *= 30
        for layer in model.pose_attention.layers:
            layer.query.weight *= 8
    return model.eval()


@torch.no_grad()
def estimate(model: ArtEq, points: torch.Tensor) -> BodyEstimate:
    return BodyEstimate(*(x[0] for x in model(points[None])))


def assert_same(ours: BodyEstimate, other: BodyEstimate, rotation: torch.Tensor | None = None, order=slice(None)) -> None:
    expected = other.rotations if rotation is None else rotation.float() @ other.rotations
    torch.testing.assert_close(ours.rotations, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(ours.part_logits, other.part_logits[order], rtol=0, atol=1e-3)
    torch.testing.assert_close(ours.betas, other.betas, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def upright() -> BodyEstimate:
    return estimate(network(), figure(300))


@pytest.mark.parametrize("element", range(60))
def test_turns_with_the_cloud_about_any_center(element, upright):
    center = torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64)
    turned = (figure(300) - center) @ ROTATIONS[element].T + center
    assert_same(estimate(network(), turned), upright, ROTATIONS[element])


def test_estimates_differ_from_part_to_part_and_cloud_to_cloud(upright):
    """What the laws are about is no constant."""
    other = estimate(network(), figure(300, seed=1))
    turns = upright.rotations[1:] @ upright.rotations[:-1].mT
    assert (turns.diagonal(dim1=-2, dim2=-1).sum(-1) < 2.99).any()
    assert (other.betas - upright.betas).abs().max() > 1e-3
    assert upright.part_probabilities.std(0).max() > 1e-3


def test_any_order_of_the_points(upright):
    order = torch.randperm(300)
    assert_same(estimate(network(), figure(300)[order]), upright, order=order)


@pytest.mark.parametrize("distance", [0.1, 10.0, 1000.0])
def test_any_place(upright, distance):
    assert_same(estimate(network(), figure(300) + distance), upright)


def test_as_released_depends_on_the_origin_and_on_the_order():
    """The flaw that the default does without; `as_released` is for weights that were trained with it."""
    model, points = network(as_released=True), figure(300).float()
    points = points - points[(points - points[0]).norm(dim=1).argmax()]  # the first point that is picked is at the origin
    before, rotation = estimate(model, points), ROTATIONS[44].float()
    about_origin = estimate(model, points @ rotation.T)
    torch.testing.assert_close(about_origin.part_logits, before.part_logits, rtol=0, atol=1e-3)
    for changed in (points + 0.1, points.flip(0)):
        after = estimate(model, changed).betas
        assert (after - before.betas).abs().max() > 1e-3


@pytest.mark.parametrize("as_released", [False, True])
def test_a_batch_is_its_entries(as_released):
    model = network(as_released=as_released)
    clouds = torch.stack([figure(200, seed).float() for seed in range(3)])
    with torch.no_grad():
        together = model(clouds)
        for entry in range(3):
            alone = model(clouds[entry : entry + 1])
            for ours, theirs in zip(together, alone, strict=True):
                torch.testing.assert_close(ours[entry], theirs[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 5, 64, 333])
def test_any_number_of_points(count):
    result = network()(figure(count).float().repeat(2, 1, 1))
    assert result.part_logits.shape == (2, count, 22) and result.rotations.shape == (2, 22, 3, 3)
    assert all(x.isfinite().all() for x in result)
    torch.testing.assert_close(torch.linalg.det(result.rotations), torch.ones(2, 22))


def test_copies_of_points_and_one_place():
    points = figure(100).float()
    result = network()(torch.cat([points, points, points[:1].expand(50, 3)])[None])
    assert all(x.isfinite().all() for x in result)
    assert all(x.isfinite().all() for x in network()(torch.ones(1, 20, 3)))


def test_given_parts_take_the_place_of_the_predicted():
    model, points = network(), figure(200).float()[None]
    with torch.no_grad():
        predicted = model(points)
        same = model(points, predicted.part_probabilities)
        labels = torch.nn.functional.one_hot(torch.arange(200) % 5, 22)[None]
        other = model(points, labels)  # parts 5 to 21 have no point
    torch.testing.assert_close(same.rotations, predicted.rotations)
    assert torch.equal(other.part_logits, predicted.part_logits)
    assert (other.rotations - predicted.rotations).abs().max() > 1e-2
    assert other.rotations.isfinite().all()


def test_parts_without_points_and_conditioning_are_not_turned():
    model = network(kinematic_conditioning=False)
    labels = torch.nn.functional.one_hot(torch.zeros(1, 200, dtype=torch.int64), 22)
    result = model(figure(200).float()[None], labels)
    torch.testing.assert_close(result.rotations[0, 1:], torch.eye(3).expand(21, 3, 3))


def test_every_parameter_has_a_gradient():
    model = ArtEq(**SMALL)
    points = torch.stack([figure(120, seed).float() for seed in range(2)])
    labels = torch.randint(0, 22, (2, 120))
    targets = BodyTargets(
        labels, torch.from_numpy(Rotation.random(44, random_state=0).as_matrix()).float().view(2, 22, 3, 3), torch.randn(2, 10)
    )
    ArtEqLoss()(points, model(points), targets).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name not in ("anchor_head.bias", "pose_head.2.bias"):  # the anchors sum to zero, so a constant weight of all is none
            assert parameter.grad.abs().max() > 0, name


def test_double_precision_network_equals_single():
    model, points = network(), figure(60)[None]
    double = ArtEq(**SMALL).double()
    double.load_state_dict(model.state_dict())
    with torch.no_grad():
        ours, theirs = model(points), double.eval()(points)
    torch.testing.assert_close(ours.part_logits.double(), theirs.part_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.betas.double(), theirs.betas, rtol=1e-4, atol=1e-4)


def test_published_sizes():
    assert (
        sum(p.numel() for p in ArtEq().parameters()) == 933_149 - 608
    )  # less biases and a skip connection that have no effect
    [[first, second], [third, fourth]] = encoder_layers((32, 64))
    assert (first.in_channels, first.stride, first.neighbors, first.lazy) == (1, 2, 64, False)
    np.testing.assert_allclose([x.radius for x in (first, second, third, fourth)], [0.08, 0.113137, 0.16, 0.16], rtol=1e-5)
    np.testing.assert_allclose([x.sigma for x in (first, second, third, fourth)], [0.0032, 0.0064, 0.0128, 0.0128], rtol=1e-5)
    deeper = encoder_layers((32, 64, 128, 256))
    np.testing.assert_allclose([level[1].radius for level in deeper[2:]], [0.226274, 0.32], rtol=1e-5)


def test_loss_compares_all_bodies_unless_as_released():
    logits, labels = torch.zeros(2, 6, 22), torch.zeros(2, 6, dtype=torch.int64)
    target = torch.eye(3).expand(2, 22, 3, 3)
    wrong = target.clone()
    wrong[1, 3] = ROTATIONS[7].float()
    guess = BodyEstimate(logits, wrong, torch.zeros(2, 10), torch.zeros(2, 22, 60))
    targets = BodyTargets(labels, target, torch.zeros(2, 10))
    points = torch.rand(2, 6, 3) + 1
    assert ArtEqLoss(as_released=True)(points, guess, targets).angle == 0
    ours = ArtEqLoss()(points, guess, targets)
    assert ours.angle > 0
    torch.testing.assert_close(
        ours.part_means, torch.tensor(0.0)
    )  # equal probabilities: the mean of part 0 is that of all points
    assert (
        ArtEqLoss(as_released=True)(points, guess, targets).part_means > 1
    )  # the means of 21 empty parts are drawn to the origin
    torch.testing.assert_close(ours.total, ours.segmentation + ours.angle)


def test_anchor_term_is_zero_at_the_weights_that_give_the_rotations():
    """Those are the traces tr(A^T R); weights of a fresh network, all alike, have a gradient towards them."""
    target = torch.from_numpy(Rotation.random(44, random_state=1).as_matrix()).float().view(2, 22, 3, 3)
    traces = torch.einsum("aij,bpij->bpa", ROTATIONS.float(), target)
    targets = BodyTargets(torch.zeros(2, 6, dtype=torch.int64), target, torch.zeros(2, 10))
    even = torch.full_like(traces, 0.1, requires_grad=True)
    terms = []
    for weights in (traces, even):
        guess = BodyEstimate(torch.zeros(2, 6, 22), target, torch.zeros(2, 10), weights)
        terms.append(ArtEqLoss(anchor=3)(torch.rand(2, 6, 3), guess, targets).anchors)
    torch.testing.assert_close(terms[0], torch.tensor(0.0), atol=1e-10, rtol=0)
    torch.testing.assert_close(
        terms[1].detach(), torch.tensor(1.0), atol=1e-5, rtol=0
    )  # 3 times the mean square of a rotation's entries
    terms[1].backward()
    assert torch.corrcoef(torch.stack([-even.grad.flatten(), traces.flatten()]))[0, 1] > 0.99


def test_loss_of_meshes():
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    loss = BodyModelLoss(torch.tensor([[0, 1, 2]]), torch.tensor([3]))
    same = loss(vertices, vertices, vertices, vertices)
    assert same.total == 0
    tilted = vertices.clone()
    tilted[0, 2] = torch.tensor([0.0, 0, 1])  # edges 0-2 and 1-2 leave the plane of the target
    terms = loss(tilted, vertices, vertices, vertices)
    torch.testing.assert_close(terms.normal, torch.tensor((0 + 1 + 0.5**0.5) / 3))
    assert terms.markers == 0 and terms.vertices > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: network()(torch.rand(5, 3)),
            r"points must be floating point \[B, N, 3\], N at least 1, got torch.float32 \[5, 3\]",
        ),
        (lambda: network()(torch.rand(1, 0, 3)), r"got torch.float32 \[1, 0, 3\]"),
        (lambda: network()(torch.full((1, 5, 3), torch.nan)), "points must be finite"),
        (lambda: network()(torch.rand(1, 5, 3), torch.rand(1, 5, 21)), r"part_weights must be \[1, 5, 22\], got \[1, 5, 21\]"),
        (lambda: AttentionStack(10, 4, 8), "heads must divide the channels, got 8 heads for 10 channels"),
        (
            lambda: convert_official("arteq", {"encoder.head.weight": torch.ones(1)}),
            "no released ArtEq checkpoint has a tensor named 'encoder.head.weight'",
        ),
        (
            lambda: convert_official(
                "arteq", {"encoder.backbone.0.blocks.0.inter_conv.conv.anchors": torch.eye(3).expand(60, 3, 3)}
            ),
            "anchors differs from the rotations of the icosahedron",
        ),
        (
            lambda: convert_official("arteq", {"encoder.backbone.0.blocks.0.inter_conv.conv.basic_conv.W": torch.ones(4, 25)}),
            r"must have a multiple of 24 columns, got \[4, 25\]",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_default_tree_is_smpls():
    assert network().parents == SMPL_PARENTS[:22]
    local = network().local_rotations(ROTATIONS[:22].float()[None])
    torch.testing.assert_close(local[0, 4], (ROTATIONS[1].T @ ROTATIONS[4]).float())


def test_a_copied_parity_case_is_found():
    assert {"arteq/rotations", "arteq/so3conv_small", "arteq/losses", "arteq/network_small"} <= {
        case.id for case in find_cases()
    }
