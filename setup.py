"""Packaging of geo3d: four top-level folders become subpackages of `geo3d` (see MAPPED)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
MAPPED = {"geo3d.ops": "ops", "geo3d.viz": "viz", "geo3d.tools": "tools", "geo3d.configs": "configs"}


def packages() -> list[str]:
    """Every package of the distribution, read from the disk so that a new folder cannot be forgotten."""
    names = find_packages(str(ROOT), include=["geo3d", "geo3d.*"])
    for name, folder in MAPPED.items():
        names += [name, *(f"{name}.{inner}" for inner in find_packages(str(ROOT / folder)))]
    return sorted(names)


def version() -> str:
    """The version that `geo3d/__init__.py` states."""
    text = (ROOT / "geo3d" / "__init__.py").read_text()
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


if __name__ == "__main__":
    setup(
        version=version(),
        packages=packages(),
        package_dir=MAPPED,
        package_data={
            "geo3d": ["py.typed"],
            "geo3d.body": ["assets/*.npz"],
            "geo3d.configs": ["**/*.yaml"],
            "geo3d.tools": ["assets/*"],
            "geo3d.tools.hands": ["*.html"],
            "geo3d.viz": ["web/*"],
            "geo3d.zoo": ["weights/*.safetensors"],
        },
        include_package_data=False,
    )
