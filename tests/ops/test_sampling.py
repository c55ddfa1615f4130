"""Farthest point sampling: every implementation against the definition, its rules, and its registration."""

from __future__ import annotations

import pytest
import torch
from point_clouds import CASES, LARGE_CLOUDS, Clouds, large_cloud, make_clouds
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d import ops
from geo3d.ops.cpu import sampling as cpu
from geo3d.ops.cuda import sampling as triton_sampling
from geo3d.ops.reference import sampling as reference

cuda = OnDevice(triton_sampling)

IMPLEMENTATIONS = {"cpu": cpu.farthest_point_sample, "triton": cuda.farthest_point_sample}


@pytest.fixture(params=CASES)
def clouds(request) -> Clouds:
    return make_clouds(request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cuda_ties", [False, True], ids=["lowest", "cuda"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, cuda_ties, dtype, clouds):
    start = (clouds.end - clouds.begin) // 2
    arguments = (clouds.points.to(dtype), clouds.begin, clouds.end, start, 9, cuda_ties)
    expected = reference.farthest_point_sample(*arguments)
    torch.testing.assert_close(IMPLEMENTATIONS[name](*arguments), expected, rtol=0, atol=0)


@pytest.mark.parametrize("cuda_ties", [False, True], ids=["lowest", "cuda"])
@pytest.mark.parametrize("kind", LARGE_CLOUDS)
def test_large_clouds_equal_reference(kind, cuda_ties):
    points = torch.cat([large_cloud(kind, count, seed=count) for count in (5000, 300)])
    begin, end, start = torch.tensor([0, 5000, 5000]), torch.tensor([5000, 5000, 5300]), torch.tensor([17, 0, 3])
    arguments = (points, begin, end, start, 60, cuda_ties)
    assert torch.equal(cpu.farthest_point_sample(*arguments), reference.farthest_point_sample(*arguments))


def test_every_point_of_a_large_cloud_once_then_the_start():
    points = large_cloud("surface", 4200, seed=0)
    picks = ops.farthest_point_sample(points, 4210, start=5)[0]
    assert torch.equal(picks[:4200].sort().values, torch.arange(4200))
    assert torch.equal(picks[4200:], torch.full((10,), 5))


def test_registration(clouds):
    start = torch.zeros_like(clouds.begin)
    torch.library.opcheck(torch.ops.geo3d.farthest_point_sample, (clouds.points, clouds.begin, clouds.end, start, 5, False))


def test_picks_the_farthest():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [4, 0, 0]]])
    assert ops.farthest_point_sample(points, 4).tolist() == [[0, 2, 3, 1]]
    assert ops.farthest_point_sample(points, 2, start=2).tolist() == [[2, 0]]


def test_start_repeats_when_points_run_out():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 0, 0]]])
    assert ops.farthest_point_sample(points, 4, start=1).tolist() == [[1, 0, 1, 1]]


def test_lengths_and_packed_agree_with_single_clouds():
    clouds = [torch.rand(n, 3) for n in (5, 40, 17)]
    padded = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True, padding_value=1e3)
    batch_index = torch.repeat_interleave(torch.arange(3), torch.tensor([5, 40, 17]))
    single = torch.stack([ops.farthest_point_sample(cloud[None], 5)[0] for cloud in clouds])
    assert torch.equal(ops.farthest_point_sample(padded, 5, lengths=torch.tensor([5, 40, 17])), single)
    packed = ops.farthest_point_sample(torch.cat(clouds), 5, batch_index=batch_index)
    assert torch.equal(packed, single + torch.tensor([0, 5, 45])[:, None])


def test_prefix_of_a_sample_is_the_sample_of_the_sample():
    points = torch.rand(2, 200, 3)
    picks = ops.farthest_point_sample(points, 50)
    again = ops.farthest_point_sample(ops.gather(points, picks), 20)
    assert torch.equal(again, torch.arange(20).expand(2, 20))


def test_half_precision_and_strides():
    points = torch.rand(2, 3, 64).transpose(1, 2)
    assert torch.equal(ops.farthest_point_sample(points, 8), ops.farthest_point_sample(points.contiguous(), 8))
    half = points.half()
    assert torch.equal(ops.farthest_point_sample(half, 8), ops.farthest_point_sample(half.float(), 8))


def test_compiles_in_one_graph():
    function = torch.compile(lambda points: ops.farthest_point_sample(points, 6), fullgraph=True, backend="aot_eager")
    points = torch.rand(2, 30, 3)
    assert torch.equal(function(points), ops.farthest_point_sample(points, 6))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.rand(4, 2), 2), {}, r"points must be \[B, N, 3\] or \[N, 3\], got \[4, 2\]"),
        ((torch.zeros(1, 4, 3, dtype=torch.int64), 2), {}, "floating point"),
        ((torch.full((1, 4, 3), torch.nan), 2), {}, "finite"),
        ((torch.rand(1, 4, 3), -1), {}, "negative"),
        ((torch.rand(1, 4, 3), 2), {"start": 4}, "start must be an index"),
        ((torch.rand(1, 4, 3), 2), {"lengths": torch.tensor([5])}, r"in \[0, 4\]"),
        ((torch.rand(4, 3), 2), {"batch_index": torch.tensor([1, 0, 0, 0])}, "sorted"),
        ((torch.rand(4, 3), 2), {"lengths": torch.tensor([4])}, "no lengths"),
        ((torch.rand(1, 4, 3), 2), {"ties": "random"}, "'lowest' or 'cuda'"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ops.farthest_point_sample(*arguments, **options)


def test_padding_may_be_anything():
    points = torch.full((1, 5, 3), torch.nan)
    points[0, :3] = torch.rand(3, 3)
    assert sorted(ops.farthest_point_sample(points, 3, lengths=torch.tensor([3]))[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("cuda_ties", [False, True], ids=["lowest", "cuda"])
def test_a_launch_for_each_pick_equals_reference(monkeypatch, cuda_ties, clouds):
    monkeypatch.setattr(triton_sampling, "SMALL", 0)
    monkeypatch.setattr(triton_sampling, "PARTS", 4)
    arguments = (clouds.points, clouds.begin, clouds.end, (clouds.end - clouds.begin) // 2, 9, cuda_ties)
    assert torch.equal(cuda.farthest_point_sample(*arguments), reference.farthest_point_sample(*arguments))


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu(clouds):
    start = torch.zeros_like(clouds.begin)
    arguments = (clouds.points, clouds.begin, clouds.end, start, 9)
    on_cuda = torch.ops.geo3d.farthest_point_sample(*(a.cuda() for a in arguments[:4]), 9, True)
    assert torch.equal(on_cuda.cpu(), torch.ops.geo3d.farthest_point_sample(*arguments, True))
