"""Packaged weights, loading them, and conversion of the authors' checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo3d.zoo.catalogue import names, network_tensors, weights_path
from geo3d.zoo.convert import convert_official

if TYPE_CHECKING:
    from geo3d.predict.loading import load as load

__all__ = ["convert_official", "load", "names", "network_tensors", "weights_path"]


def __getattr__(name: str) -> Any:
    """`load` under its second name, on first use: predictors stand on the zoo, not the zoo on predictors."""
    if name == "load":
        from geo3d.predict.loading import load

        return load
    raise AttributeError(f"module 'geo3d.zoo' has no attribute {name!r}")
