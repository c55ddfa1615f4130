"""RISurConv: invariance to rotation, translation, order and batch, as promised; shapes, gradients and errors."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from point_clouds import oriented_cloud
from scipy.spatial.transform import Rotation

from geo3d.models.risurconv import RISurConvClassifier, RISurConvSegmentor
from geo3d.models.risurconv.features import angular_keys, surface_features
from geo3d.zoo import network_tensors
from geo3d.zoo.weights import fill

SMALL = {"centers": [128, 64, 32], "neighbors": [8, 16, 16], "embedding": 16}


def classifier(**options) -> RISurConvClassifier:
    network = RISurConvClassifier(
        7, channels=[16, 24, 32, 48], encoder_heads=4, encoder_layers=2, encoder_feedforward=64, head=[32], **SMALL, **options
    )
    return settled(network, lambda: network(oriented_cloud(256, 9, 8).float()))


def segmentor(**options) -> RISurConvSegmentor:
    up = {"up_neighbors": [16, 8, 8], "up_channels": [48, 32, 32], "up_mlp": [32, 32]}
    network = RISurConvSegmentor(11, 3, channels=[16, 24, 32], hidden=32, **up, **SMALL, **options)
    return settled(network, lambda: network(oriented_cloud(256, 9, 8).float(), torch.arange(8) % 3))


def settled(network, step):
    """The network in evaluation mode, its batch norms with the statistics of some clouds."""
    with torch.no_grad():
        for _ in range(5):
            step()
    return network.eval()


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())


def rotated(points: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """One cloud [N, 6] turned by each matrix [R, 3, 3] -> [R, N, 6]."""
    return torch.cat([points[:, :3] @ matrices.mT, points[:, 3:] @ matrices.mT], -1)


@pytest.fixture(params=["closed surface", "generated", "real"])
def cloud(request) -> torch.Tensor:
    """[512, 6] float64."""
    if request.param == "closed surface":
        return oriented_cloud(512)[0]
    if request.param == "generated":
        from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape

        rng = np.random.default_rng(3)
        return torch.from_numpy(sample_shape(make_shape("chair", rng), 512, rng)[0]).double()
    samples = request.getfixturevalue("samples")
    path = samples / "modelnet40_normal_resampled" / "airplane" / "airplane_0627.txt"
    return torch.from_numpy(np.loadtxt(path, delimiter=",")[::19][:512])


@torch.no_grad()
@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_rotation_in_float64(task, cloud):
    scores = outputs(task, torch.cat([cloud[None], rotated(cloud, rotations(20))]))
    assert (scores[1:] - scores[0]).abs().max() < 1e-9


@torch.no_grad()
@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_rotation_in_float32(task, cloud):
    turned = torch.cat([cloud[None], rotated(cloud, rotations(20))]).float()
    scores = outputs(task, turned)
    assert (scores[1:] - scores[0]).abs().median() < 1e-4
    if task == "classifier":
        best = scores.exp().topk(2).values
        is_clear = best[:, 0] - best[:, 1] > 0.1
        assert (scores.argmax(1) == scores[0].argmax())[is_clear].all()


@torch.no_grad()
@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_translation(task, cloud):
    moved = cloud + torch.tensor([3.0, -2, 1, 0, 0, 0])
    scores = outputs(task, torch.stack([cloud, moved]))
    assert (scores[1] - scores[0]).abs().max() < 1e-9


@torch.no_grad()
@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_order_of_the_points(task, cloud):
    order = torch.randperm(len(cloud))
    scores = outputs(task, torch.stack([cloud, cloud[order]]))
    expected = scores[0] if task == "classifier" else scores[0][order]
    assert (scores[1] - expected).abs().max() < 1e-9


@torch.no_grad()
@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_repeated_points_in_any_order(task):
    cloud = oriented_cloud(200, 4)[0]
    cloud = torch.cat([cloud, cloud[:100], cloud[:60]])
    order = torch.randperm(len(cloud))
    scores = outputs(task, torch.stack([cloud, cloud[order]]))
    expected = scores[0] if task == "classifier" else scores[0][order]
    assert (scores[1] - expected).abs().max() < 1e-9


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_batch_mates_do_not_matter(task, dtype):
    clouds = oriented_cloud(300, 5, 4).to(dtype)
    together = outputs(task, clouds)
    for cloud, expected in zip(clouds, together, strict=True):
        torch.testing.assert_close(outputs(task, cloud[None])[0], expected)


@torch.no_grad()
def test_released_behaviour_depends_on_batch_and_order():
    network = classifier(as_released=True).double()
    clouds = oriented_cloud(300, 5, 2)
    alone = network(clouds[:1])
    assert (network(clouds)[:1] - alone).abs().max() > 1e-6
    assert (network(clouds[:1].flip(1)) - alone).abs().max() > 1e-6
    turned = torch.cat([clouds[:1], rotated(clouds[0], rotations(5))])
    codes = network.encode(turned)
    assert (codes[1:] - codes[0]).abs().max() < 1e-9  # rotation it does stand, with the reference's rounding fixed


def outputs(task: str, clouds: torch.Tensor) -> torch.Tensor:
    network = settled_network(task, clouds.dtype)
    return network(clouds) if task == "classifier" else network(clouds, torch.ones(len(clouds), dtype=torch.int64))


@functools.cache
def settled_network(task: str, dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    return (classifier() if task == "classifier" else segmentor()).to(dtype)


@torch.no_grad()
def test_packaged_classifier_on_rotated_shapes():
    from geo3d import load
    from geo3d.data.shapes.prepare import network_points
    from geo3d.data.synthetic.shapes.generate import CATEGORIES, make_shape, sample_shape

    predictor = load("risurconv-shapes-classifier")
    changes = []
    for number, category in enumerate(CATEGORIES):
        rng = np.random.default_rng([77, number])
        points, _ = sample_shape(make_shape(category, rng), 2048, rng)
        points, _ = network_points(points, predictor.info.preprocessing.num_points, orient=True)
        cloud = torch.from_numpy(points).double()
        scores = predictor.network(torch.cat([cloud[None], rotated(cloud, rotations(20))]).float())
        changes.append((scores[1:] - scores[0]).abs())
        best = scores.exp().topk(2).values
        is_clear = best[:, 0] - best[:, 1] > 0.1
        assert (scores.argmax(1) == scores[0].argmax())[is_clear].all()
    # a near-tie in the neighbourhood of one point moves all scores of its cloud, so the median is that over the clouds
    assert torch.stack(changes).median() < 1e-4


@pytest.mark.parametrize("task", ["classifier", "segmentor"])
def test_contract(task):
    """Shapes, finite values, a gradient in every parameter, state dict round trip."""
    network = classifier() if task == "classifier" else segmentor()
    clouds, extra = oriented_cloud(256, 1, 3).float(), () if task == "classifier" else (torch.tensor([0, 1, 2]),)
    scores = network.train()(clouds, *extra)
    assert scores.shape == ((3, 7) if task == "classifier" else (3, 256, 11))
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(scores.shape[:-1]))
    scores.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    twin = classifier() if task == "classifier" else segmentor()
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin.eval()(clouds, *extra), network.eval()(clouds, *extra))


def test_published_sizes():
    """Parameters used in the forward pass, as measured on the authors' code."""
    modelnet = RISurConvClassifier(40)
    scanobjectnn = RISurConvClassifier(15, [512, 256, 128, 64])
    assert sum(p.numel() for p in modelnet.parameters()) == 10_810_696
    assert sum(p.numel() for p in scanobjectnn.parameters()) == 10_807_471
    assert sum(p.numel() for p in RISurConvSegmentor().parameters()) == 4_063_730


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.rand(2, 300, 3), r"must be \[B, N, 6\] .* got \[2, 300, 3\]"),
        (torch.rand(2, 100, 6), "at least 128 points, got 100"),
        (torch.full((1, 128, 6), torch.nan), "must be finite"),
    ],
)
def test_bad_input(points, message):
    with pytest.raises(ValueError, match=message):
        classifier()(points)


def test_bad_arguments():
    with pytest.raises(ValueError, match="level 1 asks for 40 neighbours among 32 centres"):
        RISurConvClassifier(3, [32, 16], [8, 40], [8, 8, 8])
    with pytest.raises(ValueError, match="must fall from level to level"):
        RISurConvClassifier(3, [32, 64], [8, 8], [8, 8, 8])
    with pytest.raises(ValueError, match=r"categories must be \[1\]"):
        segmentor()(oriented_cloud(128).float(), torch.zeros(2, dtype=torch.int64))


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"model_state_dict": segmentor().state_dict(), "epoch": np.float64(3)}, path)
    with pytest.raises(ValueError, match=r"other.pth: weights do not fit RISurConvClassifier: \d+ missing"):
        fill(classifier(), network_tensors(path), path)


def test_angular_keys_go_round_once():
    angles = torch.tensor([0.0, 0.5, 1.5, 3.0, 3.5, 5.0, 6.0], dtype=torch.float64)
    reach = torch.tensor([2.0, 1, 1, 1, 1, 1, 1], dtype=torch.float64)  # the first is the reference
    offsets = torch.stack([reach * angles.cos(), reach * -angles.sin(), 0.3 * torch.ones(7)])[:, None, None]
    axis = torch.tensor([0.0, 0, 1], dtype=torch.float64)[:, None, None]
    keys = angular_keys(offsets, axis)[0, 0]
    assert torch.equal(keys.argsort(descending=True), torch.arange(7))
    assert keys[0] == 1


def test_features_of_a_copy_of_the_center_are_finite():
    positions = torch.zeros(3, 1, 1, 4, dtype=torch.float64, requires_grad=True)
    normals = torch.zeros(3, 1, 1, 4, dtype=torch.float64)
    assert surface_features(positions, normals, normals[..., 0]).isfinite().all()
