"""Which classes a configuration may name. Importing a module runs its code, so the check comes before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from geo3d.zoo.yaml_files import check_yaml

PACKAGES = ("geo3d", "torch", "lightning", "torchmetrics", "timm")


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
    import jsonargparse

    jsonargparse.set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*PACKAGES, *more])
    loader = jsonargparse.get_loader("yaml")
    if getattr(loader, "is_bounded", False):
        return

    def bounded(text: str) -> Any:
        check_yaml(text, "YAML")
        return loader(text)

    bounded.is_bounded = True  # type: ignore[attr-defined]
    jsonargparse.set_loader("yaml", bounded)


def check_classes(settings: Any, source: str, more: Iterable[str] = ()) -> None:
    """Check the classes that a configuration names by `class_path`.

    Raises:
        ValueError: one of another package; the message names file and key, and how to allow it.
    """
    allowed = (*PACKAGES, *more)
    for key, name in _class_paths(settings):
        if not isinstance(name, str):
            raise ValueError(f"{source}: {key}: expected the import path of a class, got {type(name).__name__}")
        if "." in name and not is_among(name, allowed):
            raise ValueError(f"{source}: {key} names {name}, {refusal(name)}")


def is_among(name: str, allowed: Iterable[str]) -> bool:
    """Whether a class by import path is one of some classes, or in one of some modules and packages."""
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def refusal(name: str) -> str:
    """What is wrong with a class of another package, and the way out."""
    package = name.partition(".")[0]
    return (
        f"which is of none of {', '.join(PACKAGES)}; importing it runs its code, which --allow-classes {package} permits, "
        "if you know who wrote it"
    )


def _class_paths(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "class_path":
                yield f"{prefix}class_path", value
            else:
                yield from _class_paths(value, f"{prefix}{key}.")
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _class_paths(value, f"{prefix}{number}.")
