"""DSVT's detectors as ONNX: the attention blocks of every stage, the pooling between them, and the 2D backbone with the head.

What depends on the points stays outside: voxels, windows, sets, position embeddings, decoding. `geo3d.export.dsvt_runtime` runs all
of it together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from geo3d.export.dsvt_parts import DeployedBlocks, DeployedMap, DeployedPooling
from geo3d.export.onnx import Export, Part
from geo3d.models.detection import CenterHead, TransFusionHead
from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.blocks import Block
from geo3d.models.dsvt.detector import DSVTDetector

PROPOSALS = ("query_cells", "query_labels", "query_scores", "dense_heatmap")  # of TransFusion's outputs, beside its branches


def detector_export(network: DSVTDetector) -> Export:
    """What of a detector is exported; it is on the CPU, in evaluation mode."""
    parts = tuple(_parts(network))
    facts = {
        "point_range": list(network.point_range),
        "voxel_size": list(network.encoder.voxel_size),
        "grid": list(network.encoder.grid),
        "stages": [_describe_stage(number, stage) for number, stage in enumerate(_stages(network))],
        "map": {"file": "map.onnx", "shape": list(network.backbone.out_grid[1::-1]), "outputs": list(parts[-1].outputs)},
    }
    # of TransFusion's head the first map alone: proposals may change places by rounding
    compared = ("dense_heatmap",) if isinstance(network.head, TransFusionHead) else ("heatmap",)
    return Export(
        parts, (random_points(network), torch.zeros(3000, dtype=torch.int64), 1), compared, rest_names(network), facts
    )


def random_points(network: DSVTDetector, count: int = 3000) -> Tensor:
    """Points [count, in_features] all over the range, the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor(network.point_range).split(3)
    places = low + (high - low) * torch.rand(count, 3, generator=generator)
    return torch.cat([places, torch.rand(count, network.in_features - 3, generator=generator)], 1)


def rest_names(network: DSVTDetector) -> tuple[str, ...]:
    """Names of the tensors that stay in PyTorch: the point encoder's and the position embeddings'."""
    return tuple(
        name
        for name in network.state_dict()
        if name.startswith("encoder.") or (name.startswith("backbone.stages.") and ".positions." in name)
    )


def _parts(network: DSVTDetector) -> Iterator[Part]:
    generator = torch.Generator().manual_seed(0)
    channels = network.backbone.channels
    for number, stage in enumerate(_stages(network)):
        if stage.pool is not None:
            yield _pooling_part(number, stage, channels, generator)
        yield _blocks_part(number, stage, channels, generator)
    head = cast("CenterHead | TransFusionHead", network.head)
    outputs = [*head.branches, *(PROPOSALS if isinstance(head, TransFusionHead) else ())]
    columns, rows, _ = network.backbone.out_grid
    example = torch.randn(2, channels, rows, columns, generator=generator)
    yield Part("map.onnx", DeployedMap(network, outputs).eval(), (example,), ("bev_map",), ({0: "B"},), tuple(outputs))


def _blocks_part(number: int, stage: Stage, channels: int, generator: torch.Generator) -> Part:
    voxels, count = 61, len(stage.blocks)
    numbers = {k: 5 + 2 * k for k in stage.partitions}  # sets of each partition
    sets = [torch.randint(voxels, (2, size, stage.set_size), generator=generator) for size in numbers.values()]
    padding = [torch.zeros_like(rows, dtype=torch.bool) for rows in sets]
    example = (
        torch.randn(voxels, channels, generator=generator),
        *sets,
        *padding,
        torch.randn(count, 2, voxels, channels, generator=generator),
    )
    names = ["set_voxel_inds_tensor_shift", "set_voxel_masks_tensor_shift"]
    return Part(
        f"stage{number}_blocks.onnx",
        DeployedBlocks(stage).eval(),
        example,
        ("src", *(f"{name}_{k}" for name in names for k in stage.partitions), "pos_embed_tensor"),
        ({0: "N"}, *({1: f"S_{k}"} for _ in names for k in stage.partitions), {2: "N"}),
        ("output",),
    )


def _pooling_part(number: int, stage: Stage, channels: int, generator: torch.Generator) -> Part:
    voxels, cells, capacity = 61, 29, capacity_of(stage)
    slots = torch.randint(voxels + 1, (cells, capacity), generator=generator)
    return Part(
        f"stage{number}_pooling.onnx",
        DeployedPooling(cast(nn.Module, stage.pool)).eval(),
        (torch.randn(voxels, channels, generator=generator), slots),
        ("src", "voxel_of_slot"),
        ({0: "N"}, {0: "M"}),
        ("output",),
    )


def capacity_of(stage: Stage) -> int:
    """Slots of a cell that the stage's pooling fills."""
    return stage.stride[0] * stage.stride[1] * stage.stride[2]


def _describe_stage(number: int, stage: Stage) -> dict[str, Any]:
    blocks = cast("list[Block]", stage.blocks)
    return {
        "blocks": f"stage{number}_blocks.onnx",
        "pooling": None if stage.pool is None else f"stage{number}_pooling.onnx",
        "stride": list(stage.stride),
        "grid": list(stage.grid),
        "set_size": stage.set_size,
        "windows": [{"shape": list(window.shape), "shift": list(window.shift)} for window in stage.windows],
        "partition_of_block": [block.partition for block in blocks],
        "partitions_of_positions": [list(block.embedded) for block in blocks],
    }


def _stages(network: DSVTDetector) -> list[Stage]:
    return [cast(Stage, stage) for stage in network.backbone.stages]
