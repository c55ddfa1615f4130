"""What 3D detectors share: bird's-eye-view backbone, CenterHead and TransFusion's head with their losses and decoding."""

from geo3d.models.detection.bev import BevBackbone, scatter_to_bev
from geo3d.models.detection.center_decode import CenterDecoder
from geo3d.models.detection.center_head import CenterHead, CenterOutputs
from geo3d.models.detection.center_loss import CenterLoss, CenterLosses
from geo3d.models.detection.detections import Detections, GroundTruth
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.pairing import decoder_for, loss_for
from geo3d.models.detection.transfusion_decode import TransFusionDecoder
from geo3d.models.detection.transfusion_head import TransFusionHead, TransFusionOutputs
from geo3d.models.detection.transfusion_loss import Matcher, TransFusionLoss, TransFusionLosses

__all__ = [
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
]
