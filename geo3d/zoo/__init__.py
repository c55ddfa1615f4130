"""Packaged weights, and conversion of the authors' checkpoints. `geo3d.load` gives a trained model."""

from geo3d.zoo.catalogue import names, network_tensors, weights_path
from geo3d.zoo.convert import convert_official

__all__ = ["convert_official", "names", "network_tensors", "weights_path"]
