"""Detectors with ONNX Runtime in place of their attention blocks, pooling, 2D backbone and head, from a folder of `geo3d export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from geo3d.export.dsvt import capacity_of, rest_names
from geo3d.export.dsvt_parts import voxel_of_slot
from geo3d.export.onnx import open_session, run_session
from geo3d.models.detection import CenterHead, CenterOutputs, TransFusionOutputs, scatter_to_bev
from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.blocks import Block
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.ops import pooling_partition


class OnnxDSVT(DSVTDetector):
    """A detector whose exported parts ONNX Runtime runs; called as `DSVTDetector`.

    Args:
        network: gets the rest of its weights: point encoder and position embeddings. Its blocks, pooling and 2D backbone are removed.
        folder: of the files.
        manifest: content of the manifest.
        providers: of ONNX Runtime.

    Raises:
        ValueError: files that do not fit.
    """

    def __init__(self, network: DSVTDetector, folder: Path, manifest: Mapping[str, Any], providers: Sequence[str]):
        nn.Module.__init__(self)  # most parts of a detector are missing
        _fill_rest(network, folder / manifest["rest"])
        self.encoder, self.head, self.bev_grid = network.encoder, network.head, network.bev_grid
        self.stages = network.backbone.stages
        for stage in cast("list[Stage]", self.stages):
            stage.pool = None
            for block in cast("list[Block]", stage.blocks):
                del block.layers, block.norm
        self.map_shape: tuple[int, int] = tuple(manifest["map"]["shape"])
        self.outputs: list[str] = manifest["map"]["outputs"]
        files = [each[kind] for each in manifest["stages"] for kind in ("blocks", "pooling") if each[kind]]
        self.described = manifest["stages"]
        self.sessions = {name: open_session(folder / name, providers) for name in (*files, manifest["map"]["file"])}
        self.map_file: str = manifest["map"]["file"]

    @torch.no_grad()
    def forward(self, points: Tensor, batch_index: Tensor, batch_size: int) -> CenterOutputs | TransFusionOutputs:
        """points [N, 3 + features], batch_index [N] -> outputs of the head, those of `DSVTDetector.forward`."""
        features, coords = self.encoder(points, batch_index, batch_size)
        for stage, described in zip(cast("list[Stage]", self.stages), self.described, strict=True):
            if described["pooling"] is not None:
                features, coords = self._pooled(stage, described["pooling"], features, coords)
            features = self._attend(stage, described["blocks"], features, coords)
        bev_map = scatter_to_bev(features, coords, batch_size, self.map_shape)
        found: dict[str, Any] = dict(zip(self.outputs, self._run(self.map_file, [bev_map]), strict=True))
        if isinstance(self.head, CenterHead):
            return CenterOutputs(**found)
        return TransFusionOutputs(**{"velocity": None} | found)

    def compile_dense(self, **options: Any) -> None:
        """Raise ValueError: ONNX Runtime runs the 2D backbone and the head."""
        raise ValueError("OnnxDSVT: the 2D backbone and the head run in ONNX Runtime; there is nothing to compile")

    def _attend(self, stage: Stage, file: str, features: Tensor, coords: Tensor) -> Tensor:
        if not len(features):
            return features
        partition = stage.partition(coords)
        positions = [torch.stack(block.embed(partition.windows)) for block in cast("list[Block]", stage.blocks)]
        sets = [partition.sets[k] for k in stage.partitions]
        inputs = [features, *(each.rows for each in sets), *(each.padding for each in sets), torch.stack(positions)]
        return self._run(file, inputs)[0]

    def _pooled(self, stage: Stage, file: str, features: Tensor, coords: Tensor) -> tuple[Tensor, Tensor]:
        before = [size * step for size, step in zip(stage.grid, stage.stride, strict=True)]
        coords, cell, slot = pooling_partition(coords, stage.stride, before)
        if not len(features):
            return features, coords
        slots = voxel_of_slot(cell, slot, len(coords), capacity_of(stage))
        return self._run(file, [features, slots])[0], coords

    def _run(self, file: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        return run_session(self.sessions[file], inputs)


def _fill_rest(network: DSVTDetector, path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(str(path))
    if set(tensors) != set(rest_names(network)):
        raise ValueError(f"{path}: its tensors are not those that the manifest's network keeps in PyTorch")
    network.load_state_dict(tensors, strict=False)
