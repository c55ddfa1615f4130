"""Every op gives the same twice, bit by bit, in what it returns and in its gradients, with several threads at work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from geo3d import ops

POINTS, QUERIES, CHANNELS, ROWS = 6000, 1500, 16, 700  # enough for all threads to get a part


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def whole(high: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def with_gradients(call, *inputs: Tensor) -> list[Tensor]:
    """What a call gives and the gradients of its inputs for one that weighs every number."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    output = call(*leaves)
    first = output[0] if isinstance(output, tuple) else output
    gradients = torch.autograd.grad((first * random(*first.shape, seed=9)).sum(), leaves)
    return [*tensors(output), *gradients]


def tensors(output) -> Iterator[Tensor]:
    """The tensors of a result, of its fields and of what they hold."""
    if isinstance(output, Tensor):
        yield output.detach()
    elif isinstance(output, dict):
        yield from tensors(tuple(output.values()))
    elif isinstance(output, tuple | list):
        for each in output:
            yield from tensors(each)
    elif hasattr(output, "__dict__"):
        yield from tensors(vars(output))


def scatter(name: str):
    return lambda: with_gradients(
        lambda values: getattr(ops, name)(values, whole(ROWS, POINTS), ROWS), random(POINTS, CHANNELS).mul(50).round() / 50
    )


def knn() -> list[Tensor]:
    return list(tensors(ops.knn(random(2, QUERIES, 3), random(2, POINTS, 3, seed=2), 8)))


def interpolated(features: Tensor) -> Tensor:
    return ops.interpolate(features, ops.knn(random(2, QUERIES, 3), random(2, 500, 3, seed=2), 3))


def coordinates() -> Tensor:
    """[M, 4] int32 (batch, z, y, x) of voxels in a grid of 8 x 30 x 30."""
    cells = torch.randperm(2 * 8 * 30 * 30, generator=torch.Generator().manual_seed(3))[:4000]
    return torch.stack(torch.unravel_index(cells, (2, 8, 30, 30)), 1).int()


def sparse_conv(plan, kernel: int):
    weight = random(CHANNELS, kernel, kernel, kernel, CHANNELS, seed=4)
    return lambda: with_gradients(
        lambda features, weight: ops.sparse_conv3d(features, weight, plan()), random(4000, CHANNELS), weight - 0.5
    )


def boxes(count: int, seed: int) -> Tensor:
    return random(count, 7, seed=seed) * torch.tensor([30, 30, 2, 4, 3, 2, 6]) + torch.tensor([0, 0, 0, 1, 1, 1, 0])


def attention() -> list[Tensor]:
    sets = torch.randperm(POINTS, generator=torch.Generator().manual_seed(3)).view(-1, 30)
    padding = random(*sets.shape, seed=5) < 0.2
    return with_gradients(
        lambda query, key, value: ops.set_attention(query, key, value, sets, padding, 4),
        *(random(POINTS, CHANNELS, seed=seed) for seed in range(3)),
    )


def point_conv() -> list[Tensor]:
    indices, kernel, points = whole(QUERIES, 2, 500, 12), random(4, 5, 3) * 0.1, random(2, QUERIES, 3)
    return with_gradients(
        lambda features, weight: ops.kernel_point_conv(features, points, points[:, :500], indices, kernel, 0.1, weight),
        random(2, 4, QUERIES, CHANNELS),
        random(8, 5, CHANNELS, seed=6) - 0.5,
    )


def voxels() -> ops.Voxels:
    return ops.voxelize(random(POINTS, 3), (0.1, 0.1, 0.2), (0, 0, 0, 1, 1, 1), batch_index=whole(2, POINTS).sort().values)


CASES = {
    "ball_query": lambda: list(tensors(ops.ball_query(random(2, QUERIES, 3), random(2, POINTS, 3, seed=2), 0.1, 16))),
    "box_iou_3d": lambda: [ops.box_iou_3d(boxes(200, 0), boxes(300, 1))],
    "box_iou_rotated": lambda: [ops.box_iou_rotated(boxes(200, 0), boxes(300, 1))],
    "count_points_in_boxes": lambda: [ops.count_points_in_boxes(random(POINTS, 3) * 30, boxes(200, 0))],
    "farthest_point_sample": lambda: list(tensors(ops.farthest_point_sample(random(2, POINTS, 3), 300))),
    "gather": lambda: with_gradients(lambda values: ops.gather(values, whole(ROWS, POINTS)), random(ROWS, CHANNELS)),
    "interpolate": lambda: with_gradients(interpolated, random(2, 500, CHANNELS)),
    "kernel_point_conv": point_conv,
    "knn": knn,
    "nms_rotated": lambda: list(tensors(ops.nms_rotated(boxes(500, 0), random(500).mul(20).round() / 20, 0.2))),
    "points_in_boxes": lambda: list(tensors(ops.points_in_boxes(random(POINTS, 3) * 30, boxes(200, 0)))),
    "pooling_partition": lambda: list(tensors(ops.pooling_partition(coordinates(), (2, 2, 2), (30, 30, 8)))),
    **{
        f"scatter_{name}": scatter(f"scatter_{name}")
        for name in ("amax", "amin", "logsumexp", "max", "mean", "min", "softmax", "sum")
    },
    "scatter_plan": lambda: list(tensors(ops.scatter_plan(whole(ROWS, POINTS), ROWS))),
    "set_attention": attention,
    "set_partition": lambda: list(
        tensors(ops.set_partition(*ops.window_partition(coordinates(), (30, 30, 8), (6, 6, 8)), (6, 6, 8), 20))
    ),
    "set_partition_padded": lambda: list(
        tensors(
            ops.set_partition_padded(*ops.window_partition(coordinates(), (30, 30, 8), (6, 6, 8)), (6, 6, 8), 20, capacity=500)
        )
    ),
    "sparse_conv3d": sparse_conv(lambda: ops.submanifold_conv_plan(coordinates(), (30, 30, 8)), 3),
    "sparse_conv_plan": sparse_conv(lambda: ops.sparse_conv_plan(coordinates(), (30, 30, 8), 3, 2, 1), 3),
    "sparse_conv_plan_padded": lambda: list(
        tensors(ops.sparse_conv_plan_padded(coordinates(), (30, 30, 8), 3, 2, 1, capacity=3000))
    ),
    "sparse_conv_transpose_plan": sparse_conv(lambda: ops.sparse_conv_transpose_plan(coordinates(), (30, 30, 8), 2, 2), 2),
    "submanifold_conv_plan": lambda: list(tensors(ops.submanifold_conv_plan(coordinates(), (30, 30, 8)))),
    "three_interpolate": lambda: with_gradients(
        lambda features: ops.three_interpolate(features, random(2, QUERIES, 3), random(2, 500, 3, seed=2)),
        random(2, 500, CHANNELS),
    ),
    "voxel_features": lambda: with_gradients(lambda values: ops.voxel_features(values, voxels()), random(POINTS, CHANNELS)),
    "voxelize": lambda: list(tensors(voxels())),
    "voxelize_hard": lambda: list(
        tensors(ops.voxelize_hard(random(POINTS, 3), (0.1, 0.1, 0.2), (0, 0, 0, 1, 1, 1), max_points=5, max_voxels=300))
    ),
    "voxelize_padded": lambda: list(
        tensors(ops.voxelize_padded(random(POINTS, 3), (0.1, 0.1, 0.2), (0, 0, 0, 1, 1, 1), capacity=400))
    ),
    "window_partition": lambda: list(tensors(ops.window_partition(coordinates(), (30, 30, 8), (6, 6, 8), (3, 3, 4)))),
}
NO_OPS = {"backends", "grid_shape", "use"}


def test_every_op_is_here():
    assert set(CASES) == {name for name in ops.__all__ if name[0].islower()} - NO_OPS


@pytest.mark.parametrize("name", CASES)
def test_an_op_gives_the_same_twice(name):
    first, second = CASES[name](), CASES[name]()
    assert first and len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
