"""Imports between the folders point one way, and no two modules import each other; read from the sources.

An import inside a function or for type checking alone counts as any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("ops", "viz", "tools")

# What the modules of a folder may import, beside their own folder.
MAY_IMPORT = {
    "ops": set(),
    "geometry": set(),
    "body": {"geometry"},
    "models": {"ops", "geometry", "body"},
    "data": {"ops", "geometry", "body"},
    "metrics": {"ops", "geometry", "data"},
    "zoo": {"models"},
    "export": {"zoo", "models", "ops"},
    "predict": {"export", "zoo", "models", "data", "geometry", "body", "ops"},
    "viz": {"geometry"},
    "tasks": {"models", "metrics", "data", "geometry", "body", "ops", "zoo", "viz"},
}
MAY_IMPORT["tools"] = set(MAY_IMPORT)


def _modules() -> Iterator[tuple[str, Path]]:
    for top in ("geo3d", *MAPPED):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if top == "geo3d" else ("geo3d", *parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(_modules())


def _imports(path: Path) -> Iterator[str]:
    """Modules of geo3d that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in names)


IMPORTS = {name: {other for other in _imports(path) if other != name} for name, path in MODULES.items()}


def _folder(module: str) -> str:
    """Folder of a module; "" of those beside the folders, which everything may import."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or len(parts) == 2 and MODULES[module].name == "__init__.py" else ""


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_a_folder_imports_only_what_stands_below_it(folder):
    modules = [name for name in MODULES if _folder(name) == folder]
    assert modules, f"no modules in {folder}"
    allowed = MAY_IMPORT[folder] | {folder, ""}
    upward = [f"{name} imports {other}" for name in modules for other in IMPORTS[name] if _folder(other) not in allowed]
    assert not upward


def test_every_folder_has_its_rule():
    assert {_folder(name) for name in MODULES} - {""} == set(MAY_IMPORT)


def test_no_modules_import_each_other_in_a_circle():
    # A package that imports its own modules, and they it, is one place: only the modules are looked at.
    graph = {name: {other for other in others if not name.startswith(f"{other}.")} for name, others in IMPORTS.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' -> '.join(error.args[1])}")
