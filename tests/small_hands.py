"""Small networks of hands with fresh weights, as files."""

from __future__ import annotations

from pathlib import Path

import torch

from geo3d.models.rejshand import HandDetector, ReJSHand
from geo3d.zoo.weights import WeightsInfo, save_weights

SIDE = 64
NETWORK = {
    "backbone": "tf_efficientnet_lite0",
    "image_size": SIDE,
    "token_counts": (30, 50),
    "widths": (32, 16, 16),
    "map_channels": 32,
}
DETECTOR = {"image_size": SIDE, "channels": 16}
EAGER, BLIND = 1.0, -20.0  # biases of the scores with which a detector finds hands everywhere, or none


def small_network() -> ReJSHand:
    """A mesh network."""
    torch.manual_seed(0)
    network = ReJSHand(**NETWORK)
    network.set_joint_regressor(torch.rand(21, 778).softmax(1))
    return network


def small_detector(bias: float = EAGER) -> HandDetector:
    """A detector whose boxes have nearly the same size everywhere."""
    torch.manual_seed(0)
    detector = HandDetector(**DETECTOR)
    torch.nn.init.constant_(detector.score_head.bias, bias)
    torch.nn.init.constant_(detector.box_head.bias, 1.0)
    return detector


def info_of(task: str) -> WeightsInfo:
    """The description of one of them."""
    name, arguments = ("ReJSHand", NETWORK) if task == "hand_mesh" else ("HandDetector", DETECTOR)
    return WeightsInfo(f"geo3d.models.rejshand.{name}", arguments, task, preprocessing={"image_size": SIDE})


def write_hands(folder: Path) -> Path:
    """hands.safetensors, eager.safetensors and blind.safetensors (detectors) in a folder, which is given back."""
    save_weights(folder / "hands.safetensors", small_network(), info_of("hand_mesh"))
    for name, bias in (("eager", EAGER), ("blind", BLIND)):
        save_weights(folder / f"{name}.safetensors", small_detector(bias), info_of("hand_detection"))
    return folder
