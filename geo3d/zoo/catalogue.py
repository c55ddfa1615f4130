"""The packaged weights by name."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from geo3d.zoo.convert import convert_official, official_model
from geo3d.zoo.weights import read_tensors

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


def network_tensors(name: str | Path) -> dict[str, Tensor]:
    """Tensors by our names, from packaged weights, a .safetensors or .ckpt file, or a released checkpoint of any model.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: a file that is not weights.
    """
    tensors = read_tensors(weights_path(name))
    model = official_model(tensors)
    return tensors if model is None else convert_official(model, tensors)
