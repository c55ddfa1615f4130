"""Nearest neighbours and balls: every implementation against the definition, its rules, its gradient and its registration."""

from __future__ import annotations

import pytest
import torch
from point_clouds import CASES, LARGE_CLOUDS, large_cloud, make_clouds
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d import ops
from geo3d.ops.cpu import neighbors as cpu
from geo3d.ops.cuda import neighbors as triton_neighbors
from geo3d.ops.cuda.clouds import along_a_curve
from geo3d.ops.neighbors import ball_query
from geo3d.ops.reference import neighbors as reference

cuda = OnDevice(triton_neighbors)

IMPLEMENTATIONS = {"cpu": cpu.knn, "triton": cuda.knn}
BALLS = {"cpu": cpu.ball_query, "triton": cuda.ball_query}


SMALL = CASES | {"several": (5, 20, 40)}  # Triton's interpreter sorts element by element


@pytest.fixture(params=SMALL)
def case(request):
    query, points = make_clouds(SMALL[request.param], seed=1), make_clouds(SMALL[request.param], seed=2)
    return query.points, points.points, query.begin, query.end, points.begin, points.end


@pytest.mark.parametrize("k", [1, 5, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, dtype, k, case):
    case = (case[0].to(dtype), case[1].to(dtype), *case[2:], k)
    rows, distances = IMPLEMENTATIONS[name](*case)
    expected_rows, expected_distances = reference.knn(*case)
    torch.testing.assert_close(rows, expected_rows, rtol=0, atol=0)
    torch.testing.assert_close(distances, expected_distances, rtol=0, atol=0)


def test_registration(case):
    torch.library.opcheck(torch.ops.geo3d.knn, (*case, 3))


def test_neighbor_of_itself():
    points = torch.rand(2, 100, 3)
    found = ops.knn(points, points, 4)
    assert torch.equal(found.indices[..., 0], torch.arange(100).expand(2, 100))
    assert torch.equal(found.squared_distances[..., 0], torch.zeros(2, 100))


def test_against_all_distances():
    query, points = torch.rand(2, 50, 3), torch.rand(2, 80, 3)
    expected = torch.cdist(query.double(), points.double()).topk(7, largest=False)
    found = ops.knn(query, points, 7)
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.squared_distances.sqrt(), expected.values.float())


def test_order_of_cuda_topk():
    points = torch.tensor([[[3.0, 0, 0], [0, 0, 0], [2, 0, 0], [1, 0, 0], [-2, 0, 0]]])
    query = torch.zeros(1, 1, 3)
    assert ops.knn(query, points, 4).indices.tolist() == [[[1, 3, 2, 4]]]
    # closer than the fourth: 1 and 3, by index; then the two that are as far as the fourth
    assert ops.knn(query, points, 4, order="cuda_topk").indices.tolist() == [[[1, 3, 2, 4]]]
    assert ops.knn(query, points, 3, order="cuda_topk").indices.tolist() == [[[1, 3, 2]]]
    assert ops.knn(query, points, 5, order="cuda_topk").indices.tolist() == [[[1, 2, 3, 4, 0]]]


def test_order_of_cuda_topk_keeps_padding_last():
    found = ops.knn(torch.zeros(1, 3), torch.tensor([[2.0, 0, 0], [1, 0, 0]]), 4, order="cuda_topk")
    assert found.indices.tolist() == [[1, 0, -1, -1]]
    assert found.squared_distances.tolist() == [[1, 4, torch.inf, torch.inf]]


def test_dense_padded_and_packed_agree():
    counts, query_counts = torch.tensor([4, 30, 0]), torch.tensor([6, 9, 2])
    points, query = [torch.rand(n, 3) for n in counts], [torch.rand(n, 3) for n in query_counts]
    batch = [torch.repeat_interleave(torch.arange(3), n) for n in (query_counts, counts)]
    packed = ops.knn(torch.cat(query), torch.cat(points), 5, query_batch=batch[0], batch_index=batch[1])
    pad = torch.nn.utils.rnn.pad_sequence
    padded = ops.knn(pad(query, True), pad(points, True), 5, query_lengths=query_counts, lengths=counts)
    for b, (first_query, first) in enumerate([(0, 0), (6, 4), (15, 34)]):
        own = padded.indices[b, : query_counts[b]]
        rows = packed.indices[first_query : first_query + query_counts[b]]
        assert torch.equal(torch.where(own < 0, own, own + first), rows)
        assert (padded.indices[b, query_counts[b] :] == -1).all()


def test_gradient_of_distances():
    query, points = torch.rand(2, 4, 3, dtype=torch.float64), torch.rand(2, 9, 3, dtype=torch.float64)
    query.requires_grad_(), points.requires_grad_()
    assert torch.autograd.gradcheck(lambda q, p: ops.knn(q, p, 3).squared_distances, (query, points))


def test_half_precision():
    query, points = torch.rand(10, 3).half(), torch.rand(40, 3).half()
    assert torch.equal(ops.knn(query, points, 3).indices, ops.knn(query.float(), points.float(), 3).indices)


def test_compiles_in_one_graph():
    function = torch.compile(lambda q, p: ops.knn(q, p, 3).indices, fullgraph=True, backend="aot_eager")
    query, points = torch.rand(2, 5, 3), torch.rand(2, 30, 3)
    assert torch.equal(function(query, points), ops.knn(query, points, 3).indices)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.rand(1, 4, 3), torch.rand(4, 3), 2), {}, "both be dense or both packed"),
        ((torch.rand(4, 3), torch.rand(4, 3).double(), 2), {}, "share dtype and device"),
        ((torch.rand(4, 3), torch.rand(4, 3), 0), {}, "at least 1"),
        ((torch.rand(2, 4, 3), torch.rand(1, 4, 3), 1), {}, "as many clouds, got 2 and 1"),
        ((torch.rand(4, 3), torch.full((4, 3), torch.inf), 1), {}, "points must be finite"),
        ((torch.rand(4, 3), torch.rand(4, 3), 1), {"order": "none"}, "'distance' or 'cuda_topk'"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ops.knn(*arguments, **options)


@pytest.fixture(params=LARGE_CLOUDS)
def large(request):
    """Queries and points of two clouds that are large enough for a tree, and of an empty one."""
    clouds = [large_cloud(request.param, count, seed=count) for count in (5000, 700)]
    queries = [large_cloud(request.param, count, seed=count) for count in (150, 120)] + [torch.rand(2, 3)]
    end, query_end = torch.tensor([5000, 5700, 5700]), torch.tensor([150, 270, 272])
    begin, query_begin = torch.tensor([0, 5000, 5700]), torch.tensor([0, 150, 270])
    return torch.cat(queries), torch.cat(clouds), query_begin, query_end, begin, end


@pytest.mark.parametrize("k", [1, 20, 41, 90])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_large_clouds_equal_reference(dtype, k, large):
    large = (large[0].to(dtype), large[1].to(dtype), *large[2:])
    for found, expected in zip(cpu.knn(*large, k), reference.knn(*large, k), strict=True):
        assert torch.equal(found, expected)


def test_points_among_themselves_equal_reference(large):
    _, points, _, _, begin, end = large
    own = cpu.knn(points, points, begin, end, begin, end, 4)
    expected = reference.knn(points[::50], points, begin // 50, end // 50, begin, end, 4)
    assert torch.equal(own[0][::50], expected[0])
    assert torch.equal(own[1][::50], expected[1])


@pytest.mark.parametrize("radius", [0.125, 4.0])
def test_balls_in_large_clouds_equal_reference(radius, large):
    limit = torch.tensor([radius**2])
    for found, expected in zip(cpu.ball_query(*large, limit, 9), reference.ball_query(*large, limit, 9), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", BALLS)
def test_balls_equal_reference(name, dtype, k, case):
    case = (case[0].to(dtype), case[1].to(dtype), *case[2:], torch.ones(1, dtype=dtype), k)
    for found, expected in zip(BALLS[name](*case), reference.ball_query(*case), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_ball_registration(case):
    torch.library.opcheck(torch.ops.geo3d.ball_query, (*case, torch.ones(1), 3))


def test_first_points_of_a_ball():
    points = torch.tensor([[[5.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]])
    query = torch.tensor([[[0.0, 0, 0], [9, 9, 9], [5, 0, 0]]])
    found = ball_query(query, points, 2.0, 2)  # the point at distance 2 is outside
    assert found.indices.tolist() == [[[2, 3], [-1, -1], [0, 0]]]
    assert found.counts.tolist() == [[2, 0, 1]]
    assert ball_query(query, points, 2.0, 4).indices[0, 0].tolist() == [2, 3, 4, 2]
    assert ball_query(query, points, 2.0, 4, padding="none").indices[0, 0].tolist() == [2, 3, 4, -1]
    assert ball_query(query, points, 0.0, 1).counts.tolist() == [[0, 0, 0]]


def test_balls_of_padded_and_packed_clouds_agree():
    counts, query_counts = torch.tensor([4, 30, 0]), torch.tensor([6, 9, 2])
    points, query = [torch.rand(n, 3) for n in counts], [torch.rand(n, 3) for n in query_counts]
    batch = [torch.repeat_interleave(torch.arange(3), n) for n in (query_counts, counts)]
    packed = ball_query(torch.cat(query), torch.cat(points), 0.5, 5, query_batch=batch[0], batch_index=batch[1])
    pad = torch.nn.utils.rnn.pad_sequence
    padded = ball_query(pad(query, True), pad(points, True), 0.5, 5, query_lengths=query_counts, lengths=counts)
    for b, (first_query, first) in enumerate([(0, 0), (6, 4), (15, 34)]):
        own, asked = padded.indices[b, : query_counts[b]], slice(first_query, first_query + query_counts[b])
        assert torch.equal(torch.where(own < 0, own, own + first), packed.indices[asked])
        assert torch.equal(padded.counts[b, : query_counts[b]], packed.counts[asked])
        assert (padded.indices[b, query_counts[b] :] == -1).all()


def test_ball_of_strided_and_half_precision_points():
    query, points = torch.rand(2, 3, 10).transpose(1, 2), torch.rand(2, 3, 40).transpose(1, 2)
    expected = ball_query(query.contiguous(), points.contiguous(), 0.4, 5)
    assert torch.equal(ball_query(query, points, 0.4, 5).indices, expected.indices)
    half = ball_query(query.half(), points.half(), 0.4, 5).indices
    assert torch.equal(half, ball_query(query.half().float(), points.half().float(), 0.4, 5).indices)


def test_ball_compiles_in_one_graph():
    function = torch.compile(lambda q, p: ball_query(q, p, 0.5, 3).indices, fullgraph=True, backend="aot_eager")
    query, points = torch.rand(2, 5, 3), torch.rand(2, 30, 3)
    assert torch.equal(function(query, points), ball_query(query, points, 0.5, 3).indices)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.rand(1, 4, 3), torch.rand(4, 3), 1.0, 2), {}, "ball_query: query and points must both be dense"),
        ((torch.rand(4, 3), torch.rand(4, 3), 1.0, 0), {}, "max_neighbors must be at least 1"),
        ((torch.rand(4, 3), torch.rand(4, 3), -1.0, 2), {}, "radius must not be negative"),
        ((torch.rand(4, 3), torch.rand(4, 3), float("nan"), 2), {}, "radius must not be negative, got nan"),
        ((torch.rand(4, 3), torch.rand(4, 3), 1.0, 2), {"padding": "zero"}, "'first' or 'none'"),
    ],
)
def test_bad_ball_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ball_query(*arguments, **options)


@pytest.mark.parametrize("counts", [(60, 0, 40), (1,)], ids=str)
def test_blocks_along_a_curve_equal_reference(monkeypatch, counts):
    """Clouds that are sorted into blocks with bounds, most of which a program passes over."""
    monkeypatch.setattr(triton_neighbors, "SMALL", 0)
    monkeypatch.setattr("geo3d.ops.cuda.neighbors_by_blocks.TILE", 16)
    query, points = make_clouds(tuple(-(-count // 3) for count in counts), seed=1), make_clouds(counts, seed=2)
    case = (query.points, points.points, query.begin, query.end, points.begin, points.end)
    limit = torch.full((1,), 0.5)
    for found, expected in zip(cuda.knn(*case, 5), reference.knn(*case, 5), strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(cuda.ball_query(*case, limit, 3), reference.ball_query(*case, limit, 3), strict=True):
        assert torch.equal(found, expected)


def test_curve_keeps_clouds_and_padding_in_place():
    points, begin, end = torch.randn(50, 3), torch.tensor([0, 20, 40]), torch.tensor([13, 20, 47])
    points[13:20] = torch.nan  # padding may be anything
    order = along_a_curve(points, begin, end)
    for low, high in ((0, 13), (13, 20), (20, 40), (40, 47), (47, 50)):
        assert order[low:high].sort().values.tolist() == list(range(low, high))
    steps = [(points[rows][1:] - points[rows][:-1]).norm(dim=1).sum() for rows in (order[:13], torch.arange(13))]
    assert steps[0] < steps[1]


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu(case):
    rows, distances = torch.ops.geo3d.knn(*(a.cuda() for a in case), 5)
    expected_rows, expected_distances = torch.ops.geo3d.knn(*case, 5)
    assert torch.equal(rows.cpu(), expected_rows)
    torch.testing.assert_close(distances.cpu(), expected_distances)
    ball = torch.ops.geo3d.ball_query(*(a.cuda() for a in case), torch.ones(1, device="cuda"), 5)
    for found, expected in zip(ball, torch.ops.geo3d.ball_query(*case, torch.ones(1), 5), strict=True):
        assert torch.equal(found.cpu(), expected)
