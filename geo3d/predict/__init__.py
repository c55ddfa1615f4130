"""Trained networks on the user's own files: `load` gives the predictor of any weights."""

from geo3d.predict.base import Predictor
from geo3d.predict.bodies import BodyFit, BodyFitter
from geo3d.predict.hand_finder import HandBox, HandFinder
from geo3d.predict.hands import FoundHand, FoundHands, HandPredictor
from geo3d.predict.loading import load
from geo3d.predict.placement import Mounting, Placement, place
from geo3d.predict.shapes import ClassScores, PartLabeler, PartLabels, ShapeClassifier
from geo3d.predict.sweeps import DetectionResult, Detector
from geo3d.predict.tracking import HandTracker, OneEuroFilter, TrackedFrame, TrackedHand
from geo3d.predict.views import ReconstructedObject, ViewReconstructor

__all__ = [
    "BodyFit",
    "BodyFitter",
    "ClassScores",
    "DetectionResult",
    "Detector",
    "FoundHand",
    "FoundHands",
    "HandBox",
    "HandFinder",
    "HandPredictor",
    "HandTracker",
    "Mounting",
    "OneEuroFilter",
    "PartLabeler",
    "PartLabels",
    "Placement",
    "Predictor",
    "ReconstructedObject",
    "ShapeClassifier",
    "TrackedFrame",
    "TrackedHand",
    "ViewReconstructor",
    "load",
    "place",
]
