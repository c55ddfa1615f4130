"""Predictions in the file of FreiHAND's challenge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_predictions(path: str | Path, joints: Sequence[Any], vertices: Sequence[Any]) -> None:
    """Write pred.json: a list of 21 joints and one of 778 vertices for each picture of the evaluation, in their order, in metres."""
    rounded = [[[[round(x, 6) for x in point] for point in hand] for hand in hands] for hands in (joints, vertices)]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded))
