"""DSVT's detectors on one LiDAR sweep, part by part, and the peer in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from geo3d.models.detection import decoder_for, scatter_to_bev
from geo3d.models.dsvt import DSVTDetector
from geo3d.models.dsvt.backbone import Stage
from geo3d.tools.benchmarks.case import Case, Mark
from geo3d.tools.benchmarks.clouds import kitti_sweep
from geo3d.tools.benchmarks.plain.dsvt import PlainDSVT, head_outputs
from geo3d.zoo.configurations import info_of_config
from geo3d.zoo.weights import WeightsInfo, build

CONFIGS = ("dsvt/waymo_pillar", "dsvt/kitti_pillar", "dsvt/generated_pillar")
SENSOR_HEIGHT = 1.73  # metres, of generated streets; Waymo's points begin at the ground


def make_cases(path: Path, device: torch.device, compiled: bool = False) -> dict[str, Case]:
    """The network of a configuration, with fresh weights and perhaps a compiled dense part, and its peer, by name.

    Raises:
        ValueError: no configuration of a detector.
    """
    info = info_of_config(path)
    torch.manual_seed(0)
    network = build(info).to(device).eval()
    if not isinstance(network, DSVTDetector):
        raise ValueError(f"{path}: expected a detector of DSVT, got {type(network).__name__}")
    points, source = sweep_for(path.stem, info)
    points = points[_in_range(points, network.point_range)].to(device)
    batch_index = torch.zeros(len(points), dtype=torch.int64, device=device)
    with torch.inference_mode():
        voxels = len(network.encoder(points, batch_index, 1).coords)
    labels: Any = info.labels
    decode = decoder_for(network.head, network.bev_grid, labels.decoder)
    plain = PlainDSVT(network)
    if compiled:
        network.compile_dense()

    def ours(mark: Mark) -> tuple[Tensor, Any]:
        return _finish(network.head, decode, run_parts(network, points, batch_index, 1, mark), mark)

    def peer(mark: Mark) -> tuple[Tensor, Any]:
        return _finish(partial(head_outputs, network.head), decode, plain(points, batch_index, 1, mark), mark)

    kind = "pillars" if network.encoder.grid[2] == 1 else "voxels"
    title = f"{path.stem}{', compiled' if compiled else ''}, {source}: {len(points):,} points, {voxels:,} {kind}"
    return {path.stem: Case(title, ours, peer)}


def run_parts(network: DSVTDetector, points: Tensor, batch_index: Tensor, batch_size: int, mark: Mark) -> Tensor:
    """Map of the 2D backbone, as the detector computes it; calls mark(name) at the end of each part."""
    features, coords = network.encoder(points, batch_index, batch_size)
    mark("point encoder")
    for stage in cast("list[Stage]", network.backbone.stages):
        if stage.pool is not None:
            features, coords = stage.pooled(features, coords)
            mark("pooling")
        partition = stage.partition(coords)
        mark("windows and sets")
        features = stage.attend(features, partition)
        mark("attention blocks")
    columns, rows, _ = network.backbone.out_grid
    bev = network.bev(scatter_to_bev(features, coords, batch_size, (rows, columns)))
    mark("2D backbone")
    return bev


def sweep_for(name: str, info: WeightsInfo) -> tuple[Tensor, str]:
    """Points [N, 3 + F] for a configuration's network, and where they are from."""
    described: Any = info.preprocessing
    sensor, features = described.sensor, described.features
    if sensor == "kitti" and not name.startswith("generated"):
        return kitti_sweep()
    from geo3d.data.synthetic.streets.camera import street_camera
    from geo3d.data.synthetic.streets.generate import make_street

    points = torch.from_numpy(make_street(0, 0).sweep.points).float()
    if described.camera_view_only:
        points = points[street_camera().in_view(points.double())]
    if sensor == "waymo":
        points[:, 2] += SENSOR_HEIGHT
    others = torch.rand(len(points), len(features) - 1, generator=torch.Generator().manual_seed(0))
    return torch.cat([points, others], 1), "generated street"


def _finish(head: Callable[[Tensor], Any], decode: Any, bev: Tensor, mark: Mark) -> tuple[Tensor, Any]:
    outputs = head(bev)
    mark("head")
    found = decode(outputs)
    mark("decoding and NMS")
    return bev, found


def _in_range(points: Tensor, point_range: tuple[float, ...]) -> Tensor:
    low, high = torch.tensor(point_range).split(3)
    return ((points[:, :3] >= low) & (points[:, :3] < high)).all(1)
