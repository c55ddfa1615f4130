"""Interpolation of features: every implementation against the definition, its rules, its gradient and its registration."""

from __future__ import annotations

import pytest
import torch
from point_clouds import CASES, make_clouds
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops.cpu import interpolation as cpu
from geo3d.ops.cuda import interpolation as triton_interpolation
from geo3d.ops.interpolation import interpolate, three_interpolate
from geo3d.ops.neighbors import knn
from geo3d.ops.reference import interpolation as reference
from geo3d.ops.reference import neighbors

cuda = OnDevice(triton_interpolation)

IMPLEMENTATIONS = {"cpu": cpu, "triton": cuda}


@pytest.fixture(params=CASES)
def case(request):
    """values [R, 5], rows [Q, 3] (some -1, many shared) and weights [Q, 3], multiples of an eighth, so that sums are exact."""
    query, points = make_clouds(request.param, seed=1), make_clouds(request.param, seed=2)
    rows, _ = neighbors.knn(query.points[::2], points.points, query.begin // 2, query.end // 2, points.begin, points.end, 3)
    return torch.randint(-8, 9, (len(points.points), 5)) / 8, rows, torch.randint(0, 9, rows.shape) / 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, dtype, case):
    values, rows, weights = case
    sums = IMPLEMENTATIONS[name].weighted_rows(values.to(dtype), rows, weights)
    assert sums.dtype == dtype
    torch.testing.assert_close(sums, reference.weighted_rows(values, rows, weights).to(dtype), rtol=0, atol=0)
    grad = torch.randint(-8, 9, (len(rows), 5)) / 8
    added = IMPLEMENTATIONS[name].add_weighted_rows(grad.to(dtype), rows, weights, len(values))
    expected = reference.add_weighted_rows(grad, rows, weights, len(values)).to(dtype)
    torch.testing.assert_close(added, expected, rtol=0, atol=0)


def test_registration(case):
    values, rows, weights = case
    torch.library.opcheck(torch.ops.geo3d.weighted_rows, (values.requires_grad_(), rows, weights))
    grad = torch.rand(len(rows), 5, requires_grad=True)
    torch.library.opcheck(torch.ops.geo3d.add_weighted_rows, (grad, rows, weights, len(values)))


def test_weights_are_inverse_squared_distances():
    points = torch.tensor([[[0.0, 0, 0], [3, 0, 0], [-2, 0, 0], [9, 0, 0]]])
    features = torch.tensor([[[1.0], [10], [100], [1000]]])
    mixed = three_interpolate(features, torch.tensor([[[1.0, 0, 0]]]), points)
    expected = (1 / 1 + 10 / 4 + 100 / 9) / (1 / 1 + 1 / 4 + 1 / 9)
    torch.testing.assert_close(mixed, torch.tensor([[[expected]]]))


def test_at_the_points_themselves():
    points, features = torch.rand(2, 50, 3), torch.rand(2, 50, 7)
    torch.testing.assert_close(three_interpolate(features, points, points), features, rtol=0, atol=1e-3)


def test_constant_features_stay():
    points, query = torch.rand(2, 50, 3), torch.rand(2, 80, 3)
    torch.testing.assert_close(three_interpolate(torch.full((2, 50, 4), 2.5), query, points), torch.full((2, 80, 4), 2.5))


def test_copies_of_a_point_share_the_weight():
    features = torch.tensor([[1.0], [3.0], [100.0]])
    mixed = three_interpolate(features, torch.zeros(1, 3), torch.tensor([[0.0, 0, 0], [0, 0, 0], [50, 0, 0]]))
    torch.testing.assert_close(mixed, torch.tensor([[2.0]]))


def test_fewer_than_three_points_and_none():
    counts, query_counts = torch.tensor([1, 0, 4]), torch.tensor([2, 3, 2])
    points, features, query = torch.rand(5, 3), torch.rand(5, 6), torch.rand(7, 3)
    batch = [torch.repeat_interleave(torch.arange(3), n) for n in (query_counts, counts)]
    mixed = three_interpolate(features, query, points, query_batch=batch[0], batch_index=batch[1])
    torch.testing.assert_close(mixed[:2], features[:1].expand(2, 6))
    assert torch.equal(mixed[2:5], torch.zeros(3, 6))
    torch.testing.assert_close(mixed[5:], three_interpolate(features[None, 1:], query[None, 5:], points[None, 1:])[0])


def test_padded_points_do_not_matter():
    points, query, features = torch.rand(2, 9, 3), torch.rand(2, 6, 3), torch.rand(2, 9, 4)
    options = {"lengths": torch.tensor([9, 5]), "query_lengths": torch.tensor([6, 2])}
    mixed = three_interpolate(features, query, points, **options)
    torch.testing.assert_close(mixed[1, :2], three_interpolate(features[1:, :5], query[1:, :2], points[1:, :5])[0])
    assert torch.equal(mixed[1, 2:], torch.zeros(4, 4))


def test_gradient_of_features():
    features = torch.rand(2, 9, 2, dtype=torch.float64, requires_grad=True)
    query, points = torch.rand(2, 5, 3), torch.rand(2, 9, 3)
    assert torch.autograd.gradcheck(lambda f: three_interpolate(f, query, points), features)
    assert torch.autograd.gradgradcheck(lambda f: three_interpolate(f, query, points), features)


def test_strides_indices_and_half_precision():
    points, query, features = torch.rand(2, 40, 3), torch.rand(2, 6, 3), torch.rand(2, 5, 40).transpose(1, 2)
    found = knn(query, points, 3)
    expected = interpolate(features.contiguous(), found)
    assert torch.equal(three_interpolate(features, query, points), expected)
    assert torch.equal(interpolate(features, found._replace(indices=found.indices.int())), expected)
    half = interpolate(features.half(), found)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half, interpolate(features.half().float(), found).half())


def test_compiles_in_one_graph():
    function = torch.compile(three_interpolate, fullgraph=True, backend="aot_eager")
    arguments = torch.rand(2, 30, 4), torch.rand(2, 5, 3), torch.rand(2, 30, 3)
    torch.testing.assert_close(function(*arguments), three_interpolate(*arguments))


def test_bad_arguments():
    found = knn(torch.rand(1, 4, 3), torch.rand(1, 9, 3), 3)
    with pytest.raises(ValueError, match=r"row for each point, got \[1, 8, 2\] for \[1, 9, 3\]"):
        three_interpolate(torch.rand(1, 8, 2), torch.rand(1, 4, 3), torch.rand(1, 9, 3))
    with pytest.raises(ValueError, match="floating point"):
        interpolate(torch.ones(1, 9, 2, dtype=torch.int64), found)
    with pytest.raises(ValueError, match=r"got torch.float32 \[9, 2\] and \[1, 4, 3\]"):
        interpolate(torch.rand(9, 2), found)
    with pytest.raises(ValueError, match=r"indices must be in \[-1, 2\)"):
        interpolate(torch.rand(1, 2, 2), found)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu(case):
    values, rows, weights = case
    on_cuda = torch.ops.geo3d.weighted_rows(values.cuda(), rows.cuda(), weights.cuda())
    assert torch.equal(on_cuda.cpu(), torch.ops.geo3d.weighted_rows(values, rows, weights))
    added = torch.ops.geo3d.add_weighted_rows(on_cuda, rows.cuda(), weights.cuda(), len(values))
    assert torch.equal(added.cpu(), torch.ops.geo3d.add_weighted_rows(on_cuda.cpu(), rows, weights, len(values)))
