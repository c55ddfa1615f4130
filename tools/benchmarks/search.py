"""Workloads of sampling, neighbour search and interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from geo3d import ops
from geo3d.tools.benchmarks.clouds import cube, sweep
from geo3d.tools.benchmarks.workloads import Workload, Workloads, backward, optional

OPS = ("farthest_point_sample", "knn", "ball_query", "three_interpolate")


def workloads(device: torch.device) -> Workloads:
    """The sizes of shape classifiers (16 clouds of 1024) and of scenes (16,384 and 100,000 points)."""
    shapes = cube(1024, 16).to(device)
    scene, large = sweep(16_384)[None, :, :3].contiguous().to(device), sweep(100_000)[None, :, :3].contiguous().to(device)
    for points, samples in ((shapes, 512), (scene, 4096), (large, 4096)):
        yield _farthest(points, samples)
    for query, points, k in ((shapes, shapes, 32), (shapes[:, :512].contiguous(), shapes, 64), (large, large, 16)):
        yield _nearest(query, points, k)
    for query, points, radius, most in (
        (shapes[:, :512].contiguous(), shapes, 0.2, 32),
        (shapes[:, :512].contiguous(), shapes, 0.4, 64),
        (scene[:, ::4].contiguous(), scene, 0.2, 32),
    ):
        yield _ball(query, points, radius, most)
    yield from _interpolation(cube(4096, 16, seed=1).to(device), shapes)


def _farthest(points: Tensor, samples: int) -> Workload:
    peers: dict[str, Callable[[], Any]] = {}
    if points.device.type == "cpu":
        arrays = points.numpy()
        if fpsample := optional("fpsample"):
            peers["fpsample"] = lambda: [fpsample.bucket_fps_kdline_sampling(cloud, samples, 5, 0) for cloud in arrays]
    if torch_cluster := optional("torch_cluster"):
        flat, batch = _packed(points)
        ratio = samples / points.shape[1]
        peers["torch-cluster"] = lambda: torch_cluster.fps(flat, batch, ratio, random_start=False)
    return Workload(
        "farthest_point_sample",
        f"farthest_point_sample, {_size(points)} -> {samples:,}",
        lambda: ops.farthest_point_sample(points, samples),
        peers,
        limits={"fpsample": "ignores the start index"},
    )


def _nearest(query: Tensor, points: Tensor, k: int) -> Workload:
    peers: dict[str, Callable[[], Any]] = {"cdist + topk": lambda: torch.cdist(query, points).topk(k, largest=False)}
    if query.shape[1] * points.shape[1] > 10**8:
        peers = {}  # tens of gigabytes
    threads = torch.get_num_threads()
    if points.device.type == "cpu":
        queries, clouds = query.numpy(), points.numpy()
        if optional("pykdtree.kdtree"):
            from pykdtree.kdtree import KDTree

            peers["pykdtree"] = lambda: [KDTree(c).query(q, k) for q, c in zip(queries, clouds, strict=True)]
        if small_gicp := optional("small_gicp"):
            peers["small_gicp"] = lambda: [
                small_gicp.KdTree(c, num_threads=threads).batch_knn_search(q, k, num_threads=threads)
                for q, c in zip(queries, clouds, strict=True)
            ]
        from scipy.spatial import cKDTree

        peers["SciPy cKDTree"] = lambda: [cKDTree(c).query(q, k, workers=threads) for q, c in zip(queries, clouds, strict=True)]
        peers |= _open3d_nearest(queries, clouds, k)
    if torch_cluster := optional("torch_cluster"):
        (flat, batch), (flat_query, query_batch) = _packed(points), _packed(query)
        peers["torch-cluster"] = lambda: torch_cluster.knn(flat, flat_query, k, batch, query_batch)
    return Workload(
        "knn",
        f"knn, {_size(query)} of {points.shape[1]:,}, k = {k}",
        lambda: ops.knn(query, points, k),
        peers,
    )


def _open3d_nearest(queries, clouds, k: int) -> dict[str, Callable[[], Any]]:
    core = optional("open3d.core")
    if not core:
        return {}
    pairs = [(core.Tensor(q), core.Tensor(c)) for q, c in zip(queries, clouds, strict=True)]

    def search():
        for q, c in pairs:
            index = core.nns.NearestNeighborSearch(c)
            index.knn_index()
            index.knn_search(q, k)

    return {"Open3D": search}


def _ball(query: Tensor, points: Tensor, radius: float, most: int) -> Workload:
    peers: dict[str, Callable[[], Any]] = {}
    if points.device.type == "cpu":
        queries, clouds = query.numpy(), points.numpy()
        if optional("pykdtree.kdtree"):
            from pykdtree.kdtree import KDTree

            peers["pykdtree (nearest)"] = lambda: [
                KDTree(c).query(q, most, distance_upper_bound=radius) for q, c in zip(queries, clouds, strict=True)
            ]
        if core := optional("open3d.core"):
            pairs = [(core.Tensor(q), core.Tensor(c)) for q, c in zip(queries, clouds, strict=True)]

            def search():
                for q, c in pairs:
                    index = core.nns.NearestNeighborSearch(c)
                    index.hybrid_index(radius)
                    index.hybrid_search(q, radius, most)

            peers["Open3D (nearest)"] = search
    if torch_cluster := optional("torch_cluster"):
        (flat, batch), (flat_query, query_batch) = _packed(points), _packed(query)
        peers["torch-cluster"] = lambda: torch_cluster.radius(flat, flat_query, radius, batch, query_batch, most)
    return Workload(
        "ball_query",
        f"ball_query, {_size(query)} of {points.shape[1]:,}, r = {radius:g}, at most {most}",
        lambda: ops.ball_query(query, points, radius, most),
        peers,
    )


def _interpolation(query: Tensor, points: Tensor) -> Workloads:
    batch, rows = points.shape[:2]
    channels = 128
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(batch, rows, channels, generator=generator).to(points.device).requires_grad_()
    grad = torch.rand(batch, query.shape[1], channels, device=points.device)
    first = torch.arange(batch, device=points.device)[:, None, None] * rows

    def weighted(distance: Tensor, nearest: Tensor) -> Tensor:
        weights = 1 / (distance + 1e-8)
        weights = weights / weights.sum(-1, keepdim=True)
        flat = (nearest.long() + first).flatten(0, 1)
        bags = F.embedding_bag(flat, features.flatten(0, 1), per_sample_weights=weights.flatten(0, 1).float(), mode="sum")
        return bags.view(batch, -1, channels)

    def by_cdist():
        exact = "donot_use_mm_for_euclid_dist"  # else small distances lose their digits
        found = torch.cdist(query, points, compute_mode=exact).square().topk(3, largest=False)
        return weighted(found.values, found.indices)

    recipes = {"cdist + topk + embedding_bag": by_cdist}
    if points.device.type == "cpu" and optional("pykdtree.kdtree"):
        from pykdtree.kdtree import KDTree

        def by_tree():
            found = [KDTree(c).query(q, 3, sqr_dists=True) for q, c in zip(query.numpy(), points.numpy(), strict=True)]
            distance, nearest = (torch.stack([torch.from_numpy(pair[i].astype(t)) for pair in found]) for i, t in _FOUND)
            return weighted(distance, nearest)

        recipes["pykdtree + embedding_bag"] = by_tree
    title = f"three_interpolate, {_size(query)} <- {rows:,}, C = {channels}"
    moved = 4 * channels * batch * (rows + query.shape[1])
    agree = {name: torch.Tensor.detach for name in recipes}
    yield Workload(
        "three_interpolate", title, lambda: ops.three_interpolate(features, query, points), recipes, moved, agree=agree
    )
    yield Workload(
        "three_interpolate",
        f"{title}, forward + backward",
        backward(lambda: ops.three_interpolate(features, query, points), [features], grad),
        {name: backward(recipe, [features], grad) for name, recipe in recipes.items()},
        2 * moved,
    )


_FOUND = ((0, "float32"), (1, "int64"))  # what pykdtree returns: distances, rows


def _packed(points: Tensor) -> tuple[Tensor, Tensor]:
    batch = torch.arange(points.shape[0], device=points.device).repeat_interleave(points.shape[1])
    return points.flatten(0, 1), batch


def _size(points: Tensor) -> str:
    batch = f"{points.shape[0]} x " if points.shape[0] > 1 else ""
    return f"{batch}{points.shape[1]:,}"
