"""Conversion of the authors' checkpoints: their tensor names to ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from geo3d.zoo import arteq, dsvt, lrgt, rejshand, risurconv

MODELS = {"arteq": arteq, "dsvt": dsvt, "lrgt": lrgt, "rejshand": rejshand, "risurconv": risurconv}


def convert_official(model: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict for our network from one with the authors' tensor names.

    Args:
        model: "arteq", "dsvt", "lrgt", "rejshand" or "risurconv".
        state_dict: the authors' tensors by name, without a "module." prefix.

    Returns:
        Tensors by our names, ready for `load_state_dict(..., strict=True)` of the network that the names tell.

    Raises:
        ValueError: an unknown model, or a tensor name that the model's released checkpoints do not have.
    """
    if model not in MODELS:
        raise ValueError(f"convert_official: model must be one of {sorted(MODELS)}, got {model!r}")
    return MODELS[model].convert(state_dict)


def official_model(names: Collection[str]) -> str | None:
    """The model whose released checkpoints have tensors of these names; None where it is none of them."""
    return next((model for model, module in MODELS.items() if module.is_official(names)), None)
