"""LRGT (ICCV 2023): a voxel grid from any number of images of an object."""

from geo3d.models.lrgt.clusters import Clusters, density_peaks
from geo3d.models.lrgt.decoder import VoxelDecoder
from geo3d.models.lrgt.encoder import LongRangeGroupingAttention, ViewEncoder
from geo3d.models.lrgt.losses import dice_loss
from geo3d.models.lrgt.merger import SimilarTokenMerger
from geo3d.models.lrgt.network import LRGT
from geo3d.models.lrgt.pretrained import load_deit

__all__ = [
    "LRGT",
    "Clusters",
    "LongRangeGroupingAttention",
    "SimilarTokenMerger",
    "ViewEncoder",
    "VoxelDecoder",
    "density_peaks",
    "dice_loss",
    "load_deit",
]
