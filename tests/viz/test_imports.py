"""Code that trains or runs networks needs no viewer: Open3D and the viewers' packages load where something is drawn."""

from __future__ import annotations

import subprocess
import sys

VIEWERS = ("open3d", "viser", "cv2", "matplotlib.pyplot")


def loaded_by(packages: tuple[str, ...]) -> str:
    """The viewers' packages that an import of all modules of some packages brings, as the new process prints them."""
    code = f"""
import importlib, pkgutil, sys
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.startswith(("geo3d.ops.cuda", "geo3d.ops.libraries.")):  # need Triton, spconv and torch-scatter
            importlib.import_module(module.name)
print(*sorted(set({VIEWERS!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_models_ops_and_tasks_load_no_viewer():
    assert "open3d" not in loaded_by(("geo3d.models", "geo3d.ops", "geo3d.tasks"))


def test_the_viewer_loads_its_packages_where_they_are_used():
    assert loaded_by(("geo3d.viz",)) == ""
