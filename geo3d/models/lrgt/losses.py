"""The loss that LRGT is trained with (ICCV 2023, section 3.5)."""

from __future__ import annotations

from torch import Tensor


def dice_loss(occupancy: Tensor, target: Tensor, smooth: float = 1.0, corrected: bool = False) -> Tensor:
    """Dice loss, the mean over the samples of a batch.

    1 - (sum(p t) + smooth) / (sum(p^2 + t^2) + smooth). The published form lacks the 2 before sum(p t), so that the loss of a perfect
    prediction is about 0.5 and not 0; the published training ran with it, and loss values and gradients go by it.

    Args:
        occupancy: [B, ...] p, in (0, 1).
        target: [B, ...] t, 0 or 1.
        smooth: keeps the loss of empty grids finite.
        corrected: with the 2.

    Raises:
        ValueError: shapes that differ.
    """
    if occupancy.shape != target.shape:
        raise ValueError(f"dice_loss: target must be {list(occupancy.shape)} as occupancy, got {list(target.shape)}")
    p, t = occupancy.flatten(1), target.flatten(1).to(occupancy.dtype)
    overlap = (p * t).sum(1) * (2 if corrected else 1)
    return (1 - (overlap + smooth) / ((p.square() + t.square()).sum(1) + smooth)).mean()
