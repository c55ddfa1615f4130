"""The hand demo does not grow: thousands of frames through all stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_hands import info_of, small_detector, small_network

from geo3d.predict.hand_finder import HandFinder
from geo3d.predict.hands import HandPredictor
from geo3d.predict.tracking import HandTracker
from geo3d.tools.hand_demo import draw_frame, status_lines
from geo3d.tools.hands.sources import Frame
from geo3d.tools.hands.stages import Pipeline

FRAMES, WARM = 5000, 500
MAX_GROWTH = 20.0  # megabytes


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
    predictor = HandPredictor(small_network(), info_of("hand_mesh"))
    tracker = HandTracker(predictor, HandFinder(small_detector(), info_of("hand_detection")))

    def draw(result):
        return draw_frame(result.frame.image, result.tracked, status_lines(pipeline, result.tracked))

    pipeline = Pipeline(Noise(), tracker, draw, drop=False)
    after_warming = 0.0
    for result in pipeline:
        if result.frame.number == WARM:
            after_warming = resident()
    assert result.frame.number == FRAMES - 1
    assert resident() - after_warming < MAX_GROWTH
