"""What of each network is exported, and exported networks read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geo3d.export.dsvt import detector_export
from geo3d.export.dsvt_runtime import OnnxDSVT
from geo3d.export.onnx import (
    MANIFEST,
    Export,
    OnnxNetwork,
    check_packages,
    check_target,
    read_manifest,
    whole_network,
    write_export,
)
from geo3d.models.arteq import ArtEq
from geo3d.models.dsvt import DSVTDetector
from geo3d.models.lrgt import LRGT
from geo3d.models.rejshand import FoldedReJSHand, HandDetector, ReJSHand
from geo3d.models.risurconv import RISurConvClassifier, RISurConvSegmentor
from geo3d.zoo.weights import SPARE_ELEMENTS, WeightsInfo, build

TOLERANCE = 1e-4  # of what ONNX Runtime gives, by the largest value if that is above 1


def _lrgt(network: LRGT) -> Export:
    images = torch.rand(2, 3, 3, network.image_size, network.image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return whole_network(network, {"images": images}, {"images": {0: "B", 1: "V"}}, ("occupancy",))


def _rejshand(network: ReJSHand) -> Export:
    shape = (2, 3, network.image_size, network.image_size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return whole_network(
        FoldedReJSHand(network), {"images": images}, {"images": {0: "B"}}, ("keypoints", "joints", "vertices", "scores")
    )


def _hand_detector(network: HandDetector) -> Export:
    shape = (2, 3, network.image_size, network.image_size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return whole_network(network, {"images": images}, {"images": {0: "B"}}, ("scores", "boxes"))


EXPORTS: dict[type[nn.Module], Callable[[Any], Export]] = {
    DSVTDetector: detector_export,
    HandDetector: _hand_detector,
    LRGT: _lrgt,
    ReJSHand: _rejshand,
}
SAMPLING = "ONNX has no operators for its sampling and neighbour search, on which every layer builds"
NOT_EXPORTED = {RISurConvClassifier: SAMPLING, RISurConvSegmentor: SAMPLING, ArtEq: SAMPLING}


def export_of(network: nn.Module) -> Export:
    """What of a network is exported; it is put into evaluation mode, on the CPU.

    Raises:
        ValueError: a network that cannot be exported; the message says why.
    """
    return _description(network)(network.cpu().eval())


def check_is_exported(network: nn.Module) -> None:
    """Raise ValueError for a network that cannot be exported; the message says why."""
    _description(network)


def _description(network: nn.Module) -> Callable[[Any], Export]:
    for kind, describe in EXPORTS.items():
        if isinstance(network, kind):
            return describe
    for kind, reason in NOT_EXPORTED.items():
        if isinstance(network, kind):
            raise ValueError(f"{kind.__name__} cannot be exported: {reason}")
    raise ValueError(f"no export of {type(network).__name__}; there is {', '.join(kind.__name__ for kind in EXPORTS)}")


def export_network(network: nn.Module, info: WeightsInfo, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write a network as ONNX into a folder.

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
        ValueError: a network that cannot be exported.
    """
    check_packages()
    check_target(Path(out), overwrite)
    return write_export(network, export_of(network), info, Path(out), overwrite)


def read_export(
    folder: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",), allow_classes: Sequence[str] = ()
) -> tuple[nn.Module, WeightsInfo]:
    """An exported network, which is called as the network itself, and the description of its weights.

    `geo3d.load` makes a predictor of them.

    Args:
        folder: written by `geo3d export`, or its manifest.
        providers: of ONNX Runtime, the first that there is; tensors go through the memory of the CPU.
        allow_classes: as in `geo3d.load`.

    Raises:
        FileNotFoundError: no manifest, or a file that it names is missing.
        ImportError: ONNX Runtime is not installed.
        ValueError: another file, or one that ONNX Runtime does not take.
    """
    folder = Path(folder).parent if Path(folder).name == MANIFEST else Path(folder)
    manifest = read_manifest(folder)
    info = _info(folder, manifest)
    try:
        return _network(folder, manifest, info, providers, allow_classes), info
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder / MANIFEST}: expected a manifest as geo3d export writes it, got {reason}") from None


def _network(
    folder: Path, manifest: dict[str, Any], info: WeightsInfo, providers: Sequence[str], allow_classes: Sequence[str]
) -> nn.Module:
    """The exported network of a manifest, which may lack anything."""
    if "network" in manifest:
        return OnnxNetwork(folder, manifest, providers).eval()
    size = sum((folder / name).stat().st_size for name in (*manifest["files"], manifest["rest"]))
    try:
        network = build(info, size + SPARE_ELEMENTS, allow_classes)
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST}: {error}") from None
    if not isinstance(network, DSVTDetector):
        raise ValueError(f"{folder / MANIFEST}: expected a detector of DSVT, got {info.network}")
    return OnnxDSVT(network.eval(), folder, manifest, providers)


def read_export_info(folder: str | Path) -> WeightsInfo:
    """The description of an exported network's weights.

    Raises:
        FileNotFoundError, ValueError: as `read_export`.
    """
    folder = Path(folder)
    return _info(folder, read_manifest(folder))


def check_export(network: nn.Module, folder: str | Path) -> float:
    """The largest difference of what ONNX Runtime and PyTorch make of one input.

    Raises:
        RuntimeError: more than rounding.
    """
    export = export_of(network)
    own = f"{type(network).__module__}.{type(network).__qualname__}"  # was allowed when the network was built
    found = read_export(folder, allow_classes=(own,))[0](*export.trial)
    with torch.no_grad():
        expected = network(*export.trial)
    largest = 0.0
    for name, mine, theirs in zip(*_tensors(expected, export), _tensors(found, export)[1], strict=True):
        both_nan = mine.isnan() & theirs.isnan()  # a hand's joints, of a network without a regressor
        difference = float((theirs - mine).masked_fill(both_nan, 0).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(mine.nan_to_num().abs().max())):
            raise RuntimeError(f"{folder}: ONNX Runtime's {name} differs from PyTorch's by {difference:g}; please report it")
        largest = max(largest, difference)
    return largest


def _info(folder: Path, manifest: dict[str, Any]) -> WeightsInfo:
    try:
        return WeightsInfo.from_json(manifest.get("weights"))
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST}: its weights do not hold: {error}") from None


def _tensors(outputs: Any, export: Export) -> tuple[list[str], list[Tensor]]:
    """Names and tensors of what is compared."""
    if export.compared:
        return list(export.compared), [getattr(outputs, name) for name in export.compared]
    return list(export.parts[0].outputs), [outputs] if isinstance(outputs, Tensor) else list(outputs)
