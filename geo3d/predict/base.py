"""What all predictors share: a trained network, the description of its weights, and the device it runs on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Literal, TypeVar

import torch
from torch import nn

from geo3d.zoo.weights import WeightsInfo

Source = TypeVar("Source", contravariant=True)
Result = TypeVar("Result", covariant=True)
Described = TypeVar("Described")


class Predictor(ABC, Generic[Source, Result]):
    """A trained network with what stands before and after it: call it with what the user has.

    Args:
        network: with its weights; it is put into evaluation mode.
        info: the description of the weights.

    Subclasses prepare in the constructor what does not depend on the input, so that bad metadata fails there.
    """

    def __init__(self, network: nn.Module, info: WeightsInfo):
        self.network = network.eval()
        self.info = info

    def described(self, field: Literal["labels", "preprocessing"], kind: type[Described]) -> Described:
        """A field of the weights' description, which must be of the kind that this predictor reads; raises ValueError otherwise."""
        value = getattr(self.info, field)
        if not isinstance(value, kind):
            expected = f"{field} must be {kind.__name__} for {type(self).__name__}"
            raise ValueError(f"{expected}, got {'nothing' if value is None else type(value).__name__}")
        return value

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are; the CPU of an exported network without any."""
        return next(self.network.parameters(), torch.empty(0)).device

    @abstractmethod
    def __call__(self, source: Source) -> Result:
        """Predict for one source, such as a file or an array."""
