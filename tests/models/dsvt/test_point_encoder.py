"""The point encoder: a plain computation, order, batches, what is outside, errors."""

from __future__ import annotations

import pytest
import torch
from models.dsvt.scenes import PILLAR, RANGE, VOXEL, cloud
from torch import nn

from geo3d.models.dsvt import PointEncoder


def settled(**options) -> PointEncoder:
    encoder = PointEncoder(5, 8, options.pop("voxel_size", VOXEL), RANGE, **options)
    for seed in range(3):
        encoder(*cloud(200, seed=seed + 50))
    return encoder.eval()


@torch.no_grad()
def test_equals_a_loop_over_voxels():
    encoder = settled()
    points, batch_index, batch_size = cloud(120, 80)
    features, coords = encoder(points, batch_index, batch_size)
    size, low = torch.tensor(VOXEL), torch.tensor(RANGE[:3])
    cells = ((points[:, :3] - low) / size).floor().long()
    inside = ((cells >= 0) & (cells < torch.tensor(encoder.grid))).all(1)
    keys = torch.cat([batch_index[:, None], cells], 1)
    voxels = keys[inside].unique(dim=0)  # ascending by batch, x, y, z
    assert torch.equal(coords.long(), voxels[:, [0, 3, 2, 1]])
    for voxel, expected in zip(voxels, features, strict=True):
        mine = points[(keys == voxel).all(1)]
        center = (voxel[1:] + 0.5) * size + low
        x = torch.cat([mine, mine[:, :3] - mine[:, :3].mean(0), mine[:, :3] - center], 1)
        first, second = (nn.Sequential(layer.linear, layer.norm, nn.ReLU()) for layer in encoder.layers)
        x = first(x)
        x = second(torch.cat([x, x.amax(0).expand_as(x)], 1))
        torch.testing.assert_close(expected, x.amax(0), rtol=1e-5, atol=1e-5)  # means of a few metres in another order


@torch.no_grad()
def test_order_of_the_points_and_batch_mates():
    encoder = settled()
    points, batch_index, _ = cloud(150, 100)
    features, coords = encoder(points, batch_index, 2)
    order = torch.randperm(250)
    shuffled = encoder(points[order], batch_index[order], 2)
    assert torch.equal(shuffled.coords, coords)
    torch.testing.assert_close(shuffled.features, features, rtol=1e-5, atol=1e-5)
    alone = encoder(points[150:], torch.zeros(100, dtype=torch.int64), 1)
    of_second = coords[:, 0] == 1
    assert torch.equal(alone.coords[:, 1:], coords[of_second, 1:])
    torch.testing.assert_close(alone.features, features[of_second])


def test_the_gradient_does_not_sort_the_points_again(monkeypatch):
    """Every gather takes the plan of the voxels: the transpose of one by indices would sort them."""
    encoder = settled()
    points, batch_index, batch_size = cloud(120, 80)
    features, _ = encoder(points, batch_index, batch_size)
    monkeypatch.setattr("geo3d.ops.cpu.grouping.add_rows", None)
    features.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


def test_points_outside_do_not_reach_the_batch_norm():
    points, batch_index, _ = cloud(100)
    far = torch.tensor([[99.0, 0, 0, 1, 1], [0, 0, -3, 1, 1], [torch.nan, 0, 0, 1, 1], [torch.inf, 0, 0, 1, 1]])
    results, statistics = [], []
    for extra in (far[:0], far):
        torch.manual_seed(1)
        encoder = PointEncoder(5, 8, VOXEL, RANGE)
        results.append(encoder(torch.cat([points, extra]), torch.zeros(100 + len(extra), dtype=torch.int64), 1).features)
        statistics.append(encoder.layers[1].norm.running_var)
    torch.testing.assert_close(results, [results[0]] * 2, rtol=0, atol=0)
    torch.testing.assert_close(statistics, [statistics[0]] * 2, rtol=0, atol=0)


@torch.no_grad()
def test_any_height():
    points, batch_index, _ = cloud(100)
    points[:20, 2] += 50
    strict, free = settled(voxel_size=PILLAR), settled(voxel_size=PILLAR, any_height=True)
    free.load_state_dict(strict.state_dict())
    low = points[:, 2].abs() < 2
    torch.testing.assert_close(free(points[low], batch_index[low], 1), strict(points[low], batch_index[low], 1))
    assert len(free(points, batch_index, 1).coords) > len(strict(points, batch_index, 1).coords)
    points[:20, 2] = torch.nan
    torch.testing.assert_close(free(points, batch_index, 1), free(points[20:], batch_index[20:], 1))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_point(count, train):
    encoder = settled().train(train)
    before = encoder.layers[0].norm.running_mean.clone()
    features, coords = encoder(torch.zeros(count, 5), torch.zeros(count, dtype=torch.int64), 1)
    assert features.shape == (count, 8) and coords.shape == (count, 4) and features.isfinite().all()
    assert torch.equal(encoder.layers[0].norm.running_mean, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_features": 2}, "in_features must be 3 or more and channels even, got 2 and 8"),
        ({"channels": 9}, "channels even, got 5 and 9"),
        ({"voxel_size": (0.5, 0.4, 0.5)}, r"-6.4 to 6.4 in x is 25.6 voxels of 0.5, not a whole number"),
        ({"any_height": True}, "any_height needs one voxel in z, got 8; set its size to the range in z"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        PointEncoder(**{"in_features": 5, "channels": 8, "voxel_size": VOXEL, "point_range": RANGE} | options)


def test_bad_points():
    with pytest.raises(ValueError, match=r"points must be \[N, 5\], got \[3, 4\]"):
        settled()(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"batch_index must be in \[0, 1\), got 1 to 1"):
        settled()(torch.zeros(3, 5), torch.ones(3, dtype=torch.int64), 1)
