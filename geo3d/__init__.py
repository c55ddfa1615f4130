"""geo3d: 3D perception models on shared CPU and CUDA point and voxel ops.

`geo3d.load(name)` gives a packaged, trained model; the subpackages are `geo3d.models`, `geo3d.ops`, `geo3d.data`,
`geo3d.tasks`, `geo3d.predict`, `geo3d.viz`, `geo3d.zoo` and `geo3d.tools`. Importing this module loads none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo3d.predict.loading import load as load

from geo3d.compiled_cache import use_writable_cache

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

use_writable_cache()  # before anything imports numba


def __getattr__(name: str):
    """Import `load` on first use: `import geo3d` stays quick and needs nothing."""
    if name == "load":
        from geo3d.predict.loading import load

        return load
    raise AttributeError(f"module 'geo3d' has no attribute {name!r}")
