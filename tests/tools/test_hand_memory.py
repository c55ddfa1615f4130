"""The hand demo does not grow: thousands of frames through all stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geo3d.models.rejshand import HandDetector, ReJSHand
from geo3d.predict.hand_finder import HandFinder
from geo3d.predict.hands import HandPredictor
from geo3d.predict.tracking import HandTracker
from geo3d.tools.hand_demo import draw_frame, status_lines
from geo3d.tools.hands.sources import Frame
from geo3d.tools.hands.stages import Pipeline
from geo3d.zoo.weights import WeightsInfo

FRAMES, WARM = 5000, 500
MOST = 20.0  # megabytes
SMALL = {"token_counts": (30, 50), "widths": (32, 16, 16), "map_channels": 32}


def resident() -> float:
    """Megabytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Noise:
    """Pictures in turn."""

    name, rate, live = "noise", 30.0, False

    def __iter__(self):
        pictures = np.random.default_rng(0).integers(0, 256, (10, 120, 160, 3), dtype=np.uint8)
        for number in range(FRAMES):
            yield Frame(number, number / self.rate, pictures[number % 10].copy())

    def close(self):
        pass


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc, which Linux has")
def test_five_thousand_frames_grow_by_less_than_twenty_megabytes():
    torch.manual_seed(0)
    network = ReJSHand("tf_efficientnet_lite0", image_size=32, **SMALL)
    network.set_joint_regressor(torch.rand(21, 778).softmax(1))
    detector = HandDetector(64, channels=16)
    torch.nn.init.constant_(detector.score_head.bias, 1.0)
    torch.nn.init.constant_(detector.box_head.bias, 1.0)
    size = {"image_size": 32, "as_released": False}
    predictor = HandPredictor(network, WeightsInfo("geo3d.models.rejshand.ReJSHand", {}, "hand_mesh", preprocessing=size))
    info = WeightsInfo("geo3d.models.rejshand.HandDetector", {}, "hand_detection", preprocessing={"image_size": 64})
    tracker = HandTracker(predictor, HandFinder(detector, info))

    def draw(result):
        return draw_frame(result.frame.image, result.tracked, status_lines(pipeline, result.tracked))

    pipeline = Pipeline(Noise(), tracker, draw, drop=False)
    after_warming = 0.0
    for result in pipeline:
        if result.frame.number == WARM:
            after_warming = resident()
    assert result.frame.number == FRAMES - 1
    assert resident() - after_warming < MOST
