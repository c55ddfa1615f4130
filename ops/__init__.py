"""Point and voxel ops on CPU (numba) and CUDA (Triton), each a torch custom op with a plain-torch definition in `reference`."""

if __name__ != "geo3d.ops":
    raise ImportError(f"this package is geo3d.ops, not {__name__!r}; run `pip install -e .` and import geo3d")

from geo3d.ops.grouping import gather
from geo3d.ops.neighbors import Neighbors, knn
from geo3d.ops.sampling import farthest_point_sample

__all__ = ["Neighbors", "farthest_point_sample", "gather", "knn"]
