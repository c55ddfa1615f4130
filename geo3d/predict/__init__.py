"""Trained networks on the user's own files: `load` gives the predictor of any weights."""

from geo3d.predict.base import Predictor
from geo3d.predict.hands import FoundHand, FoundHands, HandPredictor
from geo3d.predict.loading import load
from geo3d.predict.placement import Mounting, Placement, place
from geo3d.predict.shapes import ClassScores, PartLabeler, PartLabels, ShapeClassifier
from geo3d.predict.sweeps import DetectionResult, Detector

__all__ = [
    "ClassScores",
    "DetectionResult",
    "Detector",
    "FoundHand",
    "FoundHands",
    "HandPredictor",
    "Mounting",
    "PartLabeler",
    "PartLabels",
    "Placement",
    "Predictor",
    "ShapeClassifier",
    "load",
    "place",
]
