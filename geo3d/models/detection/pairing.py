"""The loss and the decoder that belong to a head, from plain options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from geo3d.models.detection.center_decode import CenterDecoder
from geo3d.models.detection.center_head import CenterHead
from geo3d.models.detection.center_loss import CenterLoss
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.transfusion_decode import TransFusionDecoder
from geo3d.models.detection.transfusion_head import TransFusionHead
from geo3d.models.detection.transfusion_loss import Matcher, TransFusionLoss

FORMER_NAMES = {"nms_turned": "rotate_footprints"}  # in the descriptions of weights that were written before the change


def loss_for(head: nn.Module, grid: BevGrid, options: Mapping[str, Any] | None = None) -> CenterLoss | TransFusionLoss:
    """The loss of a head's outputs.

    Args:
        head: `CenterHead` or `TransFusionHead`.
        grid: cells of its maps.
        options: attributes of the loss other than the grid; those of `Matcher` as a mapping `matcher`.

    Raises:
        ValueError: another head, or an option that the loss does not have.
    """
    kind = CenterLoss if _is_center(head) else TransFusionLoss
    options = dict(options or {})
    _check(kind, options)
    if isinstance(options.get("matcher"), Mapping):
        _check(Matcher, options["matcher"])
        options["matcher"] = Matcher(**options["matcher"])
    return kind(grid, **options)


def decoder_for(head: nn.Module, grid: BevGrid, options: Mapping[str, Any] | None = None) -> CenterDecoder | TransFusionDecoder:
    """The decoder of a head's outputs.

    Args:
        head: `CenterHead` or `TransFusionHead`.
        grid: cells of its maps.
        options: attributes of the decoder other than the grid, also by the names that weights of geo3d before 0.1 hold.

    Raises:
        ValueError: another head, or an option that the decoder does not have.
    """
    kind = CenterDecoder if _is_center(head) else TransFusionDecoder
    options = {FORMER_NAMES.get(name, name): value for name, value in (options or {}).items()}
    _check(kind, options)
    return kind(grid, **options)


def _is_center(head: nn.Module) -> bool:
    if not isinstance(head, CenterHead | TransFusionHead):
        raise ValueError(f"the head must be CenterHead or TransFusionHead, got {type(head).__name__}")
    return isinstance(head, CenterHead)


def _check(kind: type, options: Mapping[str, Any]) -> None:
    known = [each.name for each in fields(kind) if each.name != "grid"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"{kind.__name__} has no option {unknown[0]!r}; it takes {', '.join(known)}")
