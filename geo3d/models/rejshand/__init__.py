"""ReJSHand (2025): 2D keypoints, joints and the mesh of a hand from one image; a detector of hands."""

from geo3d.models.lite0 import load_lite0
from geo3d.models.rejshand.backbones import Backbone, first_stages, fold_norms
from geo3d.models.rejshand.detector import (
    DetectedHands,
    DetectorLosses,
    HandBoxes,
    HandDetector,
    HandMaps,
    decode_hands,
    detector_losses,
)
from geo3d.models.rejshand.folded import FoldedReJSHand
from geo3d.models.rejshand.heatmaps import HeatmapKeypoints, heatmap_loss, heatmap_scores, mean_places
from geo3d.models.rejshand.interaction import BoneFeatures, CoordinateAttention, Expansion, InteractionBlock, TokenAttention
from geo3d.models.rejshand.losses import HandLosses, HandTargets, hand_losses
from geo3d.models.rejshand.mesh_head import MeshHead, sine_encoding
from geo3d.models.rejshand.network import HandOutput, ReJSHand

__all__ = [
    "Backbone",
    "BoneFeatures",
    "CoordinateAttention",
    "DetectedHands",
    "DetectorLosses",
    "Expansion",
    "FoldedReJSHand",
    "HandBoxes",
    "HandDetector",
    "HandLosses",
    "HandMaps",
    "HandOutput",
    "HandTargets",
    "HeatmapKeypoints",
    "InteractionBlock",
    "MeshHead",
    "ReJSHand",
    "TokenAttention",
    "decode_hands",
    "detector_losses",
    "first_stages",
    "fold_norms",
    "hand_losses",
    "heatmap_loss",
    "heatmap_scores",
    "load_lite0",
    "mean_places",
    "sine_encoding",
]
