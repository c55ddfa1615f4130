"""Folders beside the checkout that tests use where they are found: real data samples and parity cases."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
SAMPLES = Path(os.environ.get("GEO3D_SAMPLES", SHARED / "data"))
PARITY = Path(os.environ.get("GEO3D_PARITY", SHARED / "parity"))
CASES = Path(os.environ.get("GEO3D_CASES", SHARED / "cases"))
