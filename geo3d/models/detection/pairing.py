"""The loss and the decoder that belong to a head, from plain options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

PER_CLASS = ("nms_thresholds", "iou_weights", "max_before_nms", "max_after_nms")
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
    _check_values(kind, options)
    return kind(grid, **options)


def check_classes(decoder: CenterDecoder | TransFusionDecoder, num_classes: int) -> None:
    """Raise ValueError unless a decoder's options by class are for so many classes."""
    for name in PER_CLASS:
        values = getattr(decoder, name, None)
        if values is not None and len(values) != num_classes:
            raise ValueError(
                f"{type(decoder).__name__}: {name} must be one for each of {num_classes} classes, got {len(values)}"
            )


def _is_center(head: nn.Module) -> bool:
    if not isinstance(head, CenterHead | TransFusionHead):
        raise ValueError(f"the head must be CenterHead or TransFusionHead, got {type(head).__name__}")
    return isinstance(head, CenterHead)


def _check(kind: type, options: Mapping[str, Any]) -> None:
    known = [each.name for each in fields(kind) if each.name != "grid"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"{kind.__name__} has no option {unknown[0]!r}; it takes {', '.join(known)}")


def _check_values(kind: type, options: Mapping[str, Any]) -> None:
    """Raise ValueError for a value of another kind than an option's default; lists hold numbers, or None for no limit."""
    defaults = {each.name: each.default for each in fields(kind)}
    for name, value in options.items():
        default = defaults[name]
        if isinstance(default, bool):
            good, expected = isinstance(value, bool), "true or false"
        elif isinstance(default, int | float):
            good, expected = _is_number(value), "a number"
        else:
            is_list = isinstance(value, Sequence) and all(each is None or _is_number(each) for each in value)
            good, expected = is_list or value is None, "a list of numbers"
            good &= name != "center_range" or value is None or len(value) == 6
        if not good:
            raise ValueError(f"{kind.__name__}: {name} must be {expected}, got {value!r:.60}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
