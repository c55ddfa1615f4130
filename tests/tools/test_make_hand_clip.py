"""The packaged clip of hands: small, readable, hands where it says, and made by the script."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from geo3d.tools.make_hand_clip import CLIP, FRAMES, HEIGHT, WIDTH, main


def test_the_packaged_clip():
    assert CLIP.stat().st_size < 1_500_000
    film = cv2.VideoCapture(str(CLIP))
    frames = []
    while (got := film.read())[0]:
        frames.append(got[1])
    assert len(frames) == FRAMES and frames[0].shape == (HEIGHT, WIDTH, 3)
    truth = np.load(CLIP.with_suffix(".npz"))
    keypoints, shown = truth["keypoints"], np.isfinite(truth["keypoints"]).all((2, 3))
    assert keypoints.shape == (FRAMES, 2, 21, 3)
    # The right hand comes, leaves, comes back; then there are two.
    right = np.nonzero(np.diff(shown[:, 0].astype(int)))[0]
    assert len(right) >= 2 and shown[-1].all() and not shown[:150, 1].any()
    assert (~shown).all(1).sum() > 10
    empty, busy = np.nonzero((~shown).all(1))[0][-1], np.nonzero(shown.all(1))[0][-1]
    for hand in (0, 1):
        uv = keypoints[busy, hand] @ truth["K"].T
        columns, rows = (uv[:, :2] / uv[:, 2:]).round().astype(int).clip(0, [WIDTH - 1, HEIGHT - 1]).T
        change = np.abs(frames[busy].astype(int) - frames[empty])[rows, columns].max(1)
        assert (change > 12).mean() > 0.9  # hands, not wall
    # Sides: with fingers up and the palm to the camera the thumbs point to each other.
    x = keypoints[busy, :, :, 0] / keypoints[busy, :, :, 2]
    assert x[0, 4] > x[0, 17] and x[1, 4] < x[1, 17]


def test_the_script(tmp_path, capsys):
    assert main([str(tmp_path), "--frames", "2"]) == 0
    assert (tmp_path / "hand_clip.mp4").is_file()
    assert np.load(tmp_path / "hand_clip.npz")["keypoints"].shape == (2, 2, 21, 3)
    assert "wrote" in capsys.readouterr().out


@pytest.mark.parametrize("frame", [40, 150, 299])
def test_the_truth_is_what_the_script_draws(frame):
    from geo3d.tools.make_hand_clip import Stage

    _, keypoints = Stage().draw(frame)
    np.testing.assert_allclose(keypoints, np.load(CLIP.with_suffix(".npz"))["keypoints"][frame], atol=1e-5)
