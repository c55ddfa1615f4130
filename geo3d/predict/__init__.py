"""Trained networks on the user's own files: `load` gives the predictor of any weights."""

from geo3d.predict.base import Predictor
from geo3d.predict.hands import FoundHand, FoundHands, HandPredictor
from geo3d.predict.loading import load
from geo3d.predict.shapes import ClassScores, PartLabeler, PartLabels, ShapeClassifier
from geo3d.predict.sweeps import Detector, FoundObjects

__all__ = [
    "ClassScores",
    "Detector",
    "FoundHand",
    "FoundHands",
    "FoundObjects",
    "HandPredictor",
    "PartLabeler",
    "PartLabels",
    "Predictor",
    "ShapeClassifier",
    "load",
]
