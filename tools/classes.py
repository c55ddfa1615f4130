"""What the parsers of this process may import, and how much YAML they read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jsonargparse

from geo3d.zoo.classes import PACKAGES
from geo3d.zoo.yaml_files import check_yaml


def limit_classes(more: Iterable[str] = ()) -> None:
    """Let the parsers of this process import from `PACKAGES` and `more` alone, and read no YAML beyond the limits of `check_yaml`.

    Args:
        more: packages, modules or classes by import path, beside those of earlier calls.

    Raises:
        ValueError: a name that is no import path.
    """
    for name in more:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"--allow-classes takes packages by name, such as my_package, got {name!r}")
    jsonargparse.set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*PACKAGES, *more])
    loader = jsonargparse.get_loader("yaml")
    if getattr(loader, "is_bounded", False):
        return

    def bounded(text: str) -> Any:
        check_yaml(text, "YAML")
        return loader(text)

    bounded.is_bounded = True  # type: ignore[attr-defined]
    jsonargparse.set_loader("yaml", bounded)
