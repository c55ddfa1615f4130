"""Write a detector as ONNX: `geo3d export dsvt WEIGHTS|NAME|CONFIG --out FOLDER [--weights FILE]`.

What to export is a .safetensors file that `geo3d train` wrote, packaged weights by name, or a configuration (a YAML file or the name of
one that geo3d ships) with `--weights`: a .safetensors, .ckpt or released .pth file. A configuration alone has fresh weights, to try and to time.

FOLDER gets stageS_blocks.onnx (attention blocks), stageS_pooling.onnx (from the stage before), map.onnx (2D backbone and head),
rest.safetensors (point encoder and position embeddings, which stay in PyTorch) and manifest.json (inputs, shapes, classes, ranges).
`geo3d.load(FOLDER)` runs all of it. Needs: pip install onnx onnxruntime onnxscript
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geo3d.tools.errors import run_tool

if TYPE_CHECKING:
    from torch import nn

    from geo3d.zoo.weights import WeightsInfo

MODELS = ("dsvt",)
TOLERANCE = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    """Export; returns the exit code."""
    return run_tool(_export, argv)


def _export(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.model not in MODELS:
        raise ValueError(f"no export of {arguments.model!r}; there is {', '.join(MODELS)}")
    from geo3d.export.onnx import check_packages, check_target, export_detector

    check_packages()
    check_target(arguments.out, arguments.overwrite)
    network, info = network_and_info(arguments.source, arguments.weights)
    if info.task != "detection":
        raise ValueError(f"{arguments.source}: weights are for the task {info.task!r}; detectors of DSVT are exported")
    print("exporting; this takes some seconds for each file", file=sys.stderr)
    manifest = export_detector(network, info, arguments.out, overwrite=arguments.overwrite)  # type: ignore[arg-type]
    for path in sorted(manifest.parent.iterdir()):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"ONNX Runtime and PyTorch differ by {_difference(network, manifest.parent):.1e} at most on random points")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("geo3d export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="dsvt")
    parser.add_argument("source", help="weights by name or file, or a configuration")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--weights", metavar="FILE", help="weights for a configuration")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    return parser


def network_and_info(source: str, weights: str | None = None) -> tuple[nn.Module, WeightsInfo]:
    """A network with its weights, from weights alone or from a configuration.

    Raises:
        FileNotFoundError: neither weights nor a configuration.
        ValueError: files that are damaged or do not fit.
    """
    from geo3d.tools.lightning_cli import config_path
    from geo3d.zoo import names, network_tensors, weights_path
    from geo3d.zoo.weights import build, fill, read_info

    if source in names() or Path(source).suffix == ".safetensors":
        if weights is not None:
            raise ValueError(f"--weights {weights}: {source} are weights already; --weights goes with a configuration")
        path = weights_path(source)
        info = read_info(path)
        weights = str(path)
    else:
        try:
            info = info_of_config(config_path(source))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no weights {source} and {error}") from None
    network = build(info)
    if weights is None:
        print(f"{source} comes without weights: the network has fresh ones, to try and to time", file=sys.stderr)
    else:
        fill(network, network_tensors(weights), weights)
    return network.eval(), info


def info_of_config(path: Path) -> WeightsInfo:
    """What a training configuration of a detector says of its network and of its data.

    Raises:
        ValueError: no such configuration; the message names the file.
    """
    import yaml

    from geo3d.zoo.weights import WeightsInfo

    try:
        content = yaml.safe_load(path.read_text())
        task, data = content["model"]["init_args"], content["data"]
        network = task["network"]
        labels, preprocessing = _data_facts(data)
        labels["decoder"] = task.get("decoder") or {}
        return WeightsInfo(network["class_path"], network.get("init_args", {}), "detection", labels, preprocessing)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: expected the configuration of a detector, got {type(error).__name__}: {reason}") from None


def _data_facts(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels and preprocessing of the data module that a configuration names, without its files."""
    import geo3d.data
    from geo3d.data.lidar.kitti import KittiDataset
    from geo3d.data.lidar.nuscenes import NuScenesDataset
    from geo3d.data.lidar.waymo import WaymoDataset

    name = data["class_path"].rpartition(".")[2]
    sensors: dict[str, tuple[str, Any]] = {
        "Kitti": ("kitti", KittiDataset),
        "NuScenes": ("nuscenes", NuScenesDataset),
        "Waymo": ("waymo", WaymoDataset),
    }
    sensor, dataset = sensors[name]
    parameters = inspect.signature(getattr(geo3d.data, name)).parameters
    options = {
        **{key: value.default for key, value in parameters.items() if value.default is not value.empty},
        **data["init_args"],
    }
    preprocessing = {
        "sensor": sensor,
        "features": list(dataset.features),
        "camera_view_only": bool(options.get("camera_view_only", False)),
    }
    return {"class_names": list(options["class_names"])}, preprocessing


def _difference(network: Any, folder: Path) -> float:
    """Largest difference of the head's first maps on random points.

    Raises:
        RuntimeError: more than rounding.
    """
    import torch

    from geo3d.export.dsvt_runtime import read_export

    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor(network.encoder.point_range).split(3)
    places = low + (high - low) * torch.rand(3000, 3, generator=generator)
    points = torch.cat([places, torch.rand(3000, network.encoder.in_features - 3, generator=generator)], 1)
    batch_index = torch.zeros(3000, dtype=torch.int64)
    with torch.no_grad():
        expected = network(points, batch_index, 1)
    found: Any = read_export(folder)[0](points, batch_index, 1)
    name = "dense_heatmap" if hasattr(expected, "dense_heatmap") else "heatmap"  # proposals may change places
    wanted = getattr(expected, name)
    difference = float((getattr(found, name) - wanted).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(wanted.abs().max())):
        raise RuntimeError(f"{folder}: ONNX Runtime's {name} differs from PyTorch's by {difference:g}; please report it")
    return difference


if __name__ == "__main__":
    sys.exit(main())
