"""Packaged weights, loading them, and conversion of the authors' checkpoints."""

from geo3d.zoo.catalogue import load, names, network_tensors, weights_path
from geo3d.zoo.convert import convert_official

__all__ = ["convert_official", "load", "names", "network_tensors", "weights_path"]
