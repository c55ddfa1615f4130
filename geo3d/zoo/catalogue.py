"""The packaged weights by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geo3d.zoo.convert import convert_official
from geo3d.zoo.weights import build, fill, read_info, read_tensors

if TYPE_CHECKING:
    from geo3d.predict.shapes import PointPredictor

FOLDER = Path(__file__).parent / "weights"


def names() -> list[str]:
    """Names of the packaged weights."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def weights_path(name: str | Path) -> Path:
    """The file of packaged weights by name, or of a path to weights.

    Raises:
        FileNotFoundError: neither; the message lists the packaged ones.
    """
    packaged = FOLDER / f"{name}.safetensors"
    if packaged.is_file():
        return packaged
    if Path(name).is_file():
        return Path(name)
    raise FileNotFoundError(f"no weights {name}; give a file, or one of the packaged {', '.join(names()) or '(none)'}")


def load(name: str | Path, device: str | torch.device = "cpu") -> PointPredictor:
    """A trained model, ready for the user's own clouds and meshes.

    Args:
        name: packaged weights by name (see `names`), a .safetensors file that `geo3d train` wrote, or a folder of `geo3d export`.
        device: where it runs; of an exported network what PyTorch does.

    Returns:
        A predictor: call it with a file or an array; `.network` is the network in evaluation mode, `.info` its description.

    Raises:
        FileNotFoundError: no such weights.
        ImportError: an exported network without ONNX Runtime.
        ValueError: a file that is not weights of geo3d.
    """
    from geo3d.predict.shapes import predictor_for

    if Path(name).is_dir() and str(name) not in names():  # a packaged name wins over a folder that happens to be called so
        from geo3d.export.dsvt_runtime import load_onnx

        predictor = load_onnx(name)
        predictor.network.to(device)
        return predictor
    path = weights_path(name)
    info = read_info(path)
    network = build(info)
    fill(network, read_tensors(path), path)
    return predictor_for(network.to(device).eval(), info)


def network_tensors(name: str | Path) -> dict[str, Tensor]:
    """Tensors by our names, from packaged weights, a .safetensors or .ckpt file, or a released checkpoint of any model.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: a file that is not weights.
    """
    tensors = read_tensors(weights_path(name))
    if any(name.startswith(("sc0.embedding", "sa0.embedding")) for name in tensors):
        return convert_official("risurconv", tensors)
    if any(name.startswith("vfe.pfn_layers.") for name in tensors):
        return convert_official("dsvt", tensors)
    if any(name.startswith("transformer_decoder.") for name in tensors):
        return convert_official("lrgt", tensors)
    return tensors
