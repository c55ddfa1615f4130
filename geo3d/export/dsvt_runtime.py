"""Detectors with ONNX Runtime in place of their attention blocks, pooling, 2D backbone and head, from a folder of `geo3d export`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from geo3d.export.dsvt_parts import voxel_of_slot
from geo3d.export.onnx import FORMAT, MANIFEST, capacity_of, rest_names
from geo3d.models.detection import CenterHead, CenterOutputs, TransFusionOutputs, scatter_to_bev
from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.blocks import Block
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.ops import pooling_partition
from geo3d.zoo.weights import WeightsInfo, build


def read_export(folder: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> tuple[OnnxDSVT, WeightsInfo]:
    """An exported detector and the description of its weights; `geo3d.load` makes a predictor of them.

    Args:
        folder: written by `geo3d export`, or its manifest.
        providers: of ONNX Runtime, the first that there is; tensors go through the memory of the CPU.

    Raises:
        FileNotFoundError: no manifest, or a file that it names is missing.
        ImportError: ONNX Runtime is not installed.
        ValueError: another file, or one that ONNX Runtime does not take.
    """
    folder = Path(folder).parent if Path(folder).name == MANIFEST else Path(folder)
    manifest = _read_manifest(folder)
    info = WeightsInfo(**manifest["weights"])
    network = build(info)
    assert isinstance(network, DSVTDetector)
    _fill_rest(network, folder / manifest["rest"])
    return OnnxDSVT(network.eval(), folder, manifest, providers), info


class OnnxDSVT(nn.Module):
    """A detector whose exported parts ONNX Runtime runs; called as `DSVTDetector`.

    Args:
        network: the rest: point encoder and position embeddings. Its blocks, pooling and 2D backbone are removed.
        folder: of the files.
        manifest: content of the manifest.
        providers: of ONNX Runtime.
    """

    def __init__(self, network: DSVTDetector, folder: Path, manifest: dict[str, Any], providers: Sequence[str]):
        super().__init__()
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
        self.sessions = {name: _session(folder / name, providers) for name in (*files, manifest["map"]["file"])}
        self.map_file: str = manifest["map"]["file"]

    @torch.no_grad()
    def forward(self, points: Tensor, batch_index: Tensor, batch_size: int) -> CenterOutputs | TransFusionOutputs:
        """As `DSVTDetector.forward`."""
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
        session, device = self.sessions[file], inputs[0].device
        names = [each.name for each in session.get_inputs()]
        fed = {name: tensor.cpu().contiguous().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return [torch.from_numpy(array).to(device) for array in session.run(None, fed)]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; give a folder that geo3d export wrote")
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a manifest of the format {FORMAT!r}")
    for name in (*manifest["files"], manifest["rest"]):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {folder / name}, which {path} names")
    return manifest


def _fill_rest(network: DSVTDetector, path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(str(path))
    if set(tensors) != set(rest_names(network)):
        raise ValueError(f"{path}: its tensors are not those that the manifest's network keeps in PyTorch")
    network.load_state_dict(tensors, strict=False)


def _session(path: Path, providers: Sequence[str]) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ImportError("onnxruntime is not installed; pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    available = [name for name in providers if name in onnxruntime.get_available_providers()]
    if not available:
        raise ValueError(f"ONNX Runtime has no provider {', '.join(providers)} here")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=available)
    except Exception as error:  # its exceptions have no common base but this
        raise ValueError(f"{path}: ONNX Runtime does not take it: {str(error).splitlines()[0][:200]}") from None
