"""Detectors as ONNX: the attention blocks of every stage, the pooling between them, and the 2D backbone with the head.

What depends on the points stays outside: voxels, windows, sets, position embeddings, decoding. `geo3d.export.dsvt_runtime` runs all
of it together.
"""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from geo3d.export.dsvt_parts import DeployedBlocks, DeployedMap, DeployedPooling
from geo3d.models.detection import TransFusionHead
from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.blocks import Block
from geo3d.models.dsvt.detector import DSVTDetector
from geo3d.zoo.weights import WeightsInfo

FORMAT = "geo3d onnx 1"
MANIFEST, REST = "manifest.json", "rest.safetensors"
OPSET = 18  # the first that torch's exporter writes without conversion
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
PROPOSALS = ("query_cells", "query_labels", "query_scores", "dense_heatmap")  # of TransFusion's outputs, beside its branches


@dataclass(frozen=True)
class Part:
    """A file to write.

    Attributes:
        file: its name.
        module: what it computes, in evaluation mode.
        example: inputs.
        inputs: their names.
        dynamic: of each input, the names of the axes that vary.
        outputs: names.
    """

    file: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    dynamic: tuple[dict[int, str], ...]
    outputs: tuple[str, ...]


def check_packages() -> None:
    """Raise ImportError unless what the export needs is installed."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise ImportError(f"{name} is not installed; pip install {' '.join(PACKAGES)}") from None


def export_detector(network: DSVTDetector, info: WeightsInfo, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write a detector's parts, the rest of its weights, and a manifest into a folder.

    Args:
        network: with the weights to export; it is put into evaluation mode, on the CPU.
        info: how to build it; its labels and preprocessing go into the manifest too.
        out: the folder; it is made.
        overwrite: replace an export that is there.

    Returns:
        The manifest.

    Raises:
        ImportError: packages that are missing.
        FileExistsError: the folder is there, and is not to be replaced or no export.
        ValueError: no DSVT detector.
    """
    check_packages()
    out = Path(out)
    if not isinstance(network, DSVTDetector):
        raise ValueError(f"only detectors of DSVT are exported, got {type(network).__name__}")
    check_target(out, overwrite)
    network = network.cpu().eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}") as made:
        folder = Path(made) / "export"
        folder.mkdir()
        parts = list(_parts(network))
        for part in parts:
            write_part(part, folder / part.file)
        _write_rest(network, folder / REST)
        manifest = {
            "format": FORMAT,
            "weights": {**asdict(info), "training": {}},
            "point_range": list(network.encoder.point_range),
            "voxel_size": list(network.encoder.voxel_size),
            "grid": list(network.encoder.grid),
            "stages": [_describe_stage(number, stage) for number, stage in enumerate(_stages(network))],
            "map": {"file": "map.onnx", "shape": list(network.backbone.out_grid[1::-1]), "outputs": list(parts[-1].outputs)},
            "rest": REST,
            "files": {part.file: _signature(folder / part.file) for part in parts},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return out / MANIFEST


def check_target(out: Path, overwrite: bool) -> None:
    """Raise FileExistsError unless the folder may be written."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists; choose another --out, or --overwrite")
    if not (out / MANIFEST).is_file() or json.loads((out / MANIFEST).read_text()).get("format") != FORMAT:
        raise FileExistsError(f"{out} is there and no export of geo3d, so it is not replaced; choose another --out")


def rest_names(network: DSVTDetector) -> list[str]:
    """Names of the tensors that stay in PyTorch: the point encoder's and the position embeddings'."""
    return [
        name
        for name in network.state_dict()
        if name.startswith("encoder.") or (name.startswith("backbone.stages.") and ".positions." in name)
    ]


def _parts(network: DSVTDetector) -> Iterator[Part]:
    generator = torch.Generator().manual_seed(0)
    channels = network.backbone.channels
    for number, stage in enumerate(_stages(network)):
        if stage.pool is not None:
            yield _pooling_part(number, stage, channels, generator)
        yield _blocks_part(number, stage, channels, generator)
    head: Any = network.head
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


def write_part(part: Part, path: Path) -> None:
    """Export one part."""
    dims = {name: torch.export.Dim(name) for axes in part.dynamic for name in axes.values()}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in part.dynamic)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            part.module,
            part.example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_shapes=(shapes,) if isinstance(part.module, DeployedBlocks) else shapes,  # it takes any number of tensors
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of constants that it does not fold and of names that it merges."""
    names = ("onnxscript", "torch.onnx", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _write_rest(network: DSVTDetector, path: Path) -> None:
    from safetensors.torch import save_file

    state = network.state_dict()
    save_file({name: state[name].contiguous() for name in rest_names(network)}, str(path))


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


def _signature(path: Path) -> dict[str, Any]:
    """Inputs and outputs by name, with type and shape, as the file has them."""
    import onnx

    graph = onnx.load(str(path)).graph
    return {
        "inputs": {value.name: _tensor_type(value, onnx) for value in graph.input},
        "outputs": {value.name: _tensor_type(value, onnx) for value in graph.output},
    }


def _tensor_type(value: Any, onnx: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    return {
        "type": onnx.TensorProto.DataType.Name(kind.elem_type).lower(),
        "shape": [axis.dim_param or axis.dim_value for axis in kind.shape.dim],
    }


def _stages(network: DSVTDetector) -> list[Stage]:
    return [cast(Stage, stage) for stage in network.backbone.stages]
