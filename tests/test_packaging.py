"""The distribution: its packages are those on the disk, its wheel holds them, and importing it is quick and needs little."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def packages_on_disk() -> set[str]:
    """Every folder with an __init__.py, named as it is imported."""
    found = set()
    for top in ("geo3d", "ops", "viz", "tools", "configs"):
        for init in (ROOT / top).rglob("__init__.py"):
            name = init.parent.relative_to(ROOT).as_posix().replace("/", ".")
            found.add(name if top == "geo3d" else f"geo3d.{name}")
    return found


def test_packages_are_those_on_disk():
    import setup

    assert set(setup.packages()) == packages_on_disk()


def test_every_module_is_in_a_package():
    for top in ("geo3d", "ops", "viz", "tools"):
        for module in (ROOT / top).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent} has no __init__.py, so the wheel would lack it"


@pytest.mark.slow
def test_wheel_holds_everything(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in packages_on_disk():
        assert f"{name.replace('.', '/')}/__init__.py" in names
    for top, target in (("configs", "geo3d/configs"), ("geo3d/zoo/weights", "geo3d/zoo/weights")):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in (".yaml", ".safetensors"):
                assert f"{target}/{path.relative_to(ROOT / top).as_posix()}" in names
    assert "geo3d/py.typed" in names
    assert not any(name.startswith(("tests/", "ops/", "viz/", "tools/", "configs/")) for name in names)


def test_mapped_folders_refuse_their_bare_name():
    for folder in ("ops", "viz", "tools", "configs"):
        result = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode and f"this package is geo3d.{folder}" in result.stderr


@pytest.mark.parametrize("module", ["geo3d", "geo3d.ops", "geo3d.models.risurconv", "geo3d.viz", "geo3d.data"])
def test_import_brings_no_heavy_package(module):
    code = (
        f"import sys, {module}; heavy = {{'open3d', 'lightning', 'pytorch_lightning', 'timm', 'trimesh', 'smplx', 'cv2', 'triton.language'}}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_version_is_stated_once():
    import geo3d
    import setup

    assert setup.version() == geo3d.__version__
