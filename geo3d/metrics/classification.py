"""Accuracy of classification, from a confusion matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def overall_accuracy(confusion: Tensor) -> Tensor:
    """Correct predictions over all: confusion [C, C] counts, rows true and columns predicted -> scalar in [0, 1]."""
    return confusion.diagonal().sum() / confusion.sum().clamp(min=1)


def class_accuracy(confusion: Tensor) -> Tensor:
    """Mean recall over the classes that occur: confusion [C, C] counts, rows true and columns predicted -> scalar in [0, 1]."""
    occurrences = confusion.sum(1)
    recalls = confusion.diagonal()[occurrences > 0] / occurrences[occurrences > 0]
    return recalls.mean() if len(recalls) else torch.zeros((), device=confusion.device)
