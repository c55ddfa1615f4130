"""Point and voxel ops on CPU (numba) and CUDA (Triton), each a torch custom op with a plain-torch definition in `reference`."""

if __name__ != "geo3d.ops":
    raise ImportError(f"this package is geo3d.ops, not {__name__!r}; run `pip install -e .` and import geo3d")

from geo3d.ops.backends import Backend, backends
from geo3d.ops.boxes import box_iou_3d, box_iou_rotated, count_points_in_boxes, nms_rotated, points_in_boxes
from geo3d.ops.grouping import gather
from geo3d.ops.interpolation import interpolate, three_interpolate
from geo3d.ops.kernel_point_conv import kernel_point_conv
from geo3d.ops.libraries.choice import use
from geo3d.ops.neighbors import BallNeighbors, Neighbors, ball_query, knn
from geo3d.ops.padded import PaddedSets, PaddedVoxels, set_partition_padded, sparse_conv_plan_padded, voxelize_padded
from geo3d.ops.sampling import farthest_point_sample
from geo3d.ops.scatter import (
    ScatterPlan,
    scatter_amax,
    scatter_amin,
    scatter_logsumexp,
    scatter_max,
    scatter_mean,
    scatter_min,
    scatter_plan,
    scatter_softmax,
    scatter_sum,
)
from geo3d.ops.set_attention import set_attention
from geo3d.ops.sparse_conv import ConvPlan, sparse_conv3d, sparse_conv_plan, sparse_conv_transpose_plan, submanifold_conv_plan
from geo3d.ops.sparse_tensor import SparseTensor
from geo3d.ops.voxelize import HardVoxels, Voxels, grid_shape, voxel_features, voxelize, voxelize_hard
from geo3d.ops.windows import pooling_partition, set_partition, window_partition

__all__ = [
    "Backend",
    "BallNeighbors",
    "ConvPlan",
    "HardVoxels",
    "Neighbors",
    "PaddedSets",
    "PaddedVoxels",
    "ScatterPlan",
    "SparseTensor",
    "Voxels",
    "backends",
    "ball_query",
    "box_iou_3d",
    "box_iou_rotated",
    "count_points_in_boxes",
    "farthest_point_sample",
    "gather",
    "grid_shape",
    "interpolate",
    "kernel_point_conv",
    "knn",
    "nms_rotated",
    "points_in_boxes",
    "pooling_partition",
    "scatter_amax",
    "scatter_amin",
    "scatter_logsumexp",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_plan",
    "scatter_softmax",
    "scatter_sum",
    "set_attention",
    "set_partition",
    "set_partition_padded",
    "sparse_conv3d",
    "sparse_conv_plan",
    "sparse_conv_plan_padded",
    "sparse_conv_transpose_plan",
    "submanifold_conv_plan",
    "three_interpolate",
    "use",
    "voxel_features",
    "voxelize",
    "voxelize_hard",
    "voxelize_padded",
    "window_partition",
]
