"""Tasks: the loss, metrics and optimiser that a network is trained and tested with, as Lightning modules."""

from geo3d.tasks.body_fitting import BodyFitting
from geo3d.tasks.classification import Classification
from geo3d.tasks.detection import Detection
from geo3d.tasks.hand_detection import HandDetection
from geo3d.tasks.hand_mesh import HandMesh
from geo3d.tasks.part_segmentation import PartSegmentation
from geo3d.tasks.reconstruction import Reconstruction

__all__ = ["BodyFitting", "Classification", "Detection", "HandDetection", "HandMesh", "PartSegmentation", "Reconstruction"]
