"""The public names of the packages: a name that vanishes, or comes unnoticed, fails here and belongs into CHANGELOG.md."""

from __future__ import annotations

import importlib

import pytest

NAMES = {
    "geo3d": ["__version__", "load"],
    "geo3d.models.detection": [
        "BevBackbone",
        "BevGrid",
        "CenterDecoder",
        "CenterHead",
        "CenterLoss",
        "CenterLosses",
        "CenterOutputs",
        "Detections",
        "GroundTruth",
        "Matcher",
        "TransFusionDecoder",
        "TransFusionHead",
        "TransFusionLoss",
        "TransFusionLosses",
        "TransFusionOutputs",
        "decoder_for",
        "loss_for",
        "scatter_to_bev",
    ],
    "geo3d.models.dsvt": [
        "AttentionPooling",
        "Block",
        "DSVTBackbone",
        "DSVTCenter",
        "DSVTDetector",
        "DSVTTransFusion",
        "LinearPooling",
        "MaxPooling",
        "PointEncoder",
        "SetAttention",
        "SetLayer",
        "StageConfig",
        "VoxelFeatures",
        "nuscenes_pillar",
        "parameters_left_untrained_by_the_authors",
        "waymo_pillar",
        "waymo_voxel",
    ],
    "geo3d.models.risurconv": [
        "FeaturePropagation",
        "GroupAll",
        "RISurConvClassifier",
        "RISurConvSegmentor",
        "SetAbstraction",
        "Surface",
        "SurfaceConv",
    ],
    "geo3d.ops": [
        "Backend",
        "BallNeighbors",
        "ConvPlan",
        "HardVoxels",
        "Neighbors",
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
        "sparse_conv3d",
        "sparse_conv_plan",
        "sparse_conv_transpose_plan",
        "submanifold_conv_plan",
        "three_interpolate",
        "voxel_features",
        "voxelize",
        "voxelize_hard",
        "window_partition",
    ],
    "geo3d.tasks": ["Classification", "Detection", "PartSegmentation"],
    "geo3d.zoo": ["convert_official", "load", "names", "network_tensors", "weights_path"],
}


@pytest.mark.parametrize("module", NAMES)
def test_public_names(module):
    found = importlib.import_module(module)
    assert sorted(found.__all__) == NAMES[module]
    for name in NAMES[module]:
        assert getattr(found, name) is not None
