"""The hand demo: sources of frames, stages, drawing, what it writes, and what it says when something is missing."""

from __future__ import annotations

import json
import threading
import time

import cv2
import numpy as np
import pytest
from small_hands import write_hands

from geo3d.geometry.virtual_camera import default_camera_matrix
from geo3d.predict.hands import FoundHand
from geo3d.predict.tracking import TrackedFrame, TrackedHand
from geo3d.tools import hand_demo
from geo3d.tools.hand_demo import CLIP, draw_frame, main
from geo3d.tools.hands.drawing import draw_hand, hand_faces
from geo3d.tools.hands.sources import Camera, Film, Folder, Frame, open_source
from geo3d.tools.hands.stages import Handover, Pipeline, Times

MATRIX = default_camera_matrix(256, 192)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[str, str]:
    folder = write_hands(tmp_path_factory.mktemp("weights"))
    return str(folder / "hands.safetensors"), str(folder / "eager.safetensors")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for number in range(9):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def run(*argv, weights):
    return main([*map(str, argv), "--weights", weights[0], "--detector", weights[1], "--pytorch"])


def test_a_film_gives_its_frames_in_order(film):
    source = open_source(str(film))
    frames = list(source)
    assert [frame.number for frame in frames] == list(range(9)) and not source.live and source.rate == 25
    assert [round(frame.time * 25) for frame in frames] == list(range(9))
    np.testing.assert_allclose([frame.image.mean() for frame in frames], np.arange(9) * 20, atol=6)


def test_a_folder_gives_its_pictures_upright_and_in_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((5, 6, 4), np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6), 90 * 256, np.uint16))
    (tmp_path / "notes.txt").write_text("no picture")
    assert [frame.image.shape for frame in Folder(tmp_path)] == [(4, 6, 3), (5, 6, 3)]


def test_missing_sources_are_told(tmp_path, capsys, weights):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    cases = {
        "empty.mp4": "expected a film, got no frame",
        "nothing": "no picture",
        "absent.mp4": "no such film or folder",
    }
    for name, message in cases.items():
        assert run(tmp_path / name, weights=weights) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


class FakeCapture:
    """A camera that gives some pictures and then none."""

    def __init__(self, pictures, opens=True):
        self.left, self.opens = pictures, opens

    def isOpened(self):
        return self.opens

    def get(self, _):
        return 0.0

    def read(self):
        self.left -= 1
        return (True, np.full((48, 64, 3), 7, np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        pass


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        (FakeCapture(0, opens=False), "no camera 3 here"),
        (FakeCapture(0), "camera 3 gives no picture"),
        (FakeCapture(5), "camera 3 stopped"),
    ],
    ids=["none", "silent", "stops"],
)
def test_cameras_that_are_not_there_or_stop(monkeypatch, capsys, weights, tmp_path, capture, message):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture)
    monkeypatch.setattr("geo3d.tools.hands.sources.LOST_AFTER", 0.05)
    assert run(3, "--save", tmp_path / "out.mp4", weights=weights) == 2
    assert message in capsys.readouterr().err


def test_a_camera_gives_live_frames(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCapture(4))
    monkeypatch.setattr("geo3d.tools.hands.sources.LOST_AFTER", 0.05)
    camera = Camera(0)
    frames = []
    with pytest.raises(ValueError, match="stopped"):
        for frame in camera:
            frames.append(frame)
    assert camera.live and camera.rate == 30 and len(frames) == 4
    assert all(first.time <= second.time for first, second in zip(frames, frames[1:], strict=False))


def test_handovers_drop_or_wait():
    dropping: Handover[int] = Handover(drop=True)
    for number in range(5):
        dropping.put(number)
    dropping.close()
    assert list(dropping) == [4] and dropping.dropped == 4
    waiting: Handover[int] = Handover(drop=False)

    def fill():
        for number in range(50):
            waiting.put(number)
        waiting.close()

    threading.Thread(target=fill).start()
    assert list(waiting) == list(range(50)) and waiting.dropped == 0


def test_errors_of_a_stage_come_out():
    handover: Handover[int] = Handover(drop=False)
    handover.put(1)
    handover.close(ValueError("gone"))
    taken = iter(handover)
    assert next(taken) == 1
    with pytest.raises(ValueError, match="gone"):
        next(taken)


class Numbers:
    """A source of so many frames, each with its number."""

    name, rate = "numbers", 100.0

    def __init__(self, count, live=False, pause=0.0):
        self.count, self.live, self.pause, self.closed = count, live, pause, False

    def __iter__(self):
        for number in range(self.count):
            time.sleep(self.pause)
            yield Frame(number, number / self.rate, np.full((4, 4, 3), number % 256, np.uint8))

    def close(self):
        self.closed = True


class SlowTracker:
    def __init__(self, pause=0.0):
        self.pause = pause

    def __call__(self, image, when):
        time.sleep(self.pause)
        return TrackedFrame((), True, MATRIX, True)


def test_no_frame_of_a_film_is_dropped():
    source = Numbers(40)
    pipeline = Pipeline(source, SlowTracker(0.001), lambda result: result.frame.image, drop=False)
    results = list(pipeline)
    assert [result.frame.number for result in results] == list(range(40)) and pipeline.dropped == 0
    assert source.closed and pipeline.times["network"].percentiles()[0] >= 1


def test_frames_of_a_camera_are_dropped_rather_than_queued():
    pipeline = Pipeline(Numbers(40, live=True, pause=0.002), SlowTracker(0.02), lambda result: result.frame.image, drop=True)
    numbers = [result.frame.number for result in pipeline]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 39
    assert len(numbers) < 30 and len(numbers) + pipeline.dropped == 40


def test_stopping_early_ends_all_stages():
    source = Numbers(10**9)
    pipeline = Pipeline(source, SlowTracker(), lambda result: result.frame.image, drop=False)
    for result in pipeline:
        if result.frame.number == 5:
            break
    pipeline.close()
    assert source.closed and not any(thread.is_alive() for thread in pipeline._threads)


def test_percentiles():
    times = Times()
    assert times.percentiles() == (0.0, 0.0)
    for value in range(1, 102):
        times.add(value / 1000)
    assert times.percentiles() == pytest.approx((51, 96))


@pytest.fixture(scope="module")
def right_hand() -> FoundHand:
    from geo3d.data.synthetic.hands.model import hand_model

    hand = hand_model().pose(np.zeros(10), np.zeros((15, 3)), np.zeros(3))
    turn = np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]])
    place = np.array([0.0, 0.08, 0.35])
    joints, vertices = hand.keypoints @ turn.T + place, hand.vertices @ turn.T + place
    pixels = joints @ MATRIX.T
    return FoundHand("right", np.array([0, 0, 256, 192.0]), pixels[:, :2] / pixels[:, 2:], joints, vertices)


def mirrored_hand(hand: FoundHand) -> FoundHand:
    sign = [-1, 1, 1]
    keypoints = np.array([255, 0]) + hand.keypoints * [-1, 1]
    return FoundHand("left", hand.box, keypoints, hand.joints * sign, hand.vertices * sign)


def test_the_mesh_is_drawn_where_the_hand_is(right_hand):
    picture = np.zeros((192, 256, 3), np.uint8)
    draw_hand(picture, right_hand, MATRIX, skeleton=False)
    pixels = right_hand.vertices @ MATRIX.T
    columns, rows = (pixels[:, :2] / pixels[:, 2:]).round().astype(int).clip(0, [255, 191]).T
    drawn = picture.any(-1)
    grown = cv2.dilate(drawn.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # vertices on the outline round outward
    assert grown[rows, columns].mean() > 0.98 and drawn.mean() < 0.6
    assert not drawn[:, :2].any() and not drawn[:, -2:].any()


def test_faces_of_both_sides_look_outward(right_hand):
    for hand in (right_hand, mirrored_hand(right_hand)):
        corners = (hand.vertices - hand.vertices.mean(0))[hand_faces(hand.side)]
        assert np.linalg.det(corners).sum() > 0  # six times the volume


def test_a_left_hand_looks_like_the_mirrored_right_one(right_hand):
    right, left = np.zeros((192, 256, 3), np.uint8), np.zeros((192, 256, 3), np.uint8)
    draw_hand(right, right_hand, MATRIX, skeleton=False)
    draw_hand(left, mirrored_hand(right_hand), MATRIX, skeleton=False)
    assert (right.any(-1) ^ left[:, ::-1].any(-1)).mean() < 0.02


def test_a_mirror_turns_the_picture_and_not_the_sides(right_hand):
    tracked = TrackedFrame((TrackedHand(1, right_hand, 0.9, 1),), False, MATRIX, True)
    image = np.zeros((192, 256, 3), np.uint8)
    image[:, :10] = 255
    plain, mirror = draw_frame(image, tracked, []), draw_frame(image, tracked, [], mirror=True)
    assert plain[-1, 0].min() == 255 and mirror[-1, -1].min() == 255
    assert tracked.hands[0].hand.side == "right" and (image[:, 10:] == 0).all()


def test_hands_that_are_not_finite_or_behind_the_camera_are_not_drawn(right_hand):
    picture = np.zeros((192, 256, 3), np.uint8)
    for vertices in (right_hand.vertices * np.nan, right_hand.vertices - [0, 0, 1]):
        draw_hand(
            picture,
            FoundHand("right", right_hand.box, right_hand.keypoints, right_hand.joints, vertices),
            MATRIX,
            skeleton=False,
        )
    assert not picture.any()


def test_a_film_is_saved_with_a_line_for_each_frame(film, tmp_path, weights, capsys):
    saved, lines = tmp_path / "new" / "out.mp4", tmp_path / "out.jsonl"
    assert run(film, "--save", saved, "--json", lines, "--vertices", weights=weights) == 0
    assert "9 frames" in capsys.readouterr().out
    assert len(list(Film(saved))) == 9
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(9))
    hands = [hand for record in records for hand in record["hands"]]
    for hand in hands:
        assert set(hand) == {"id", "side", "confidence", "keypoints", "joints", "vertices"}
        assert np.shape(hand["joints"]) == (21, 3) and np.shape(hand["vertices"]) == (778, 3)
    assert all(record["camera_is_assumed"] and record["state"] in ("tracking", "searching") for record in records)
    assert run(film, "--save", saved, weights=weights) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_lines_go_to_standard_output(film, weights, capsys):
    assert run(film, "--json", "-", "--frames", 3, "--focal-length", 70, weights=weights) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == 3 and not records[0]["camera_is_assumed"]


def test_onnx_runtime_gives_the_same(film, weights):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is optional: pip install onnx onnxruntime")
    plain = hand_demo.load_networks(*weights, pytorch=True)
    fast = hand_demo.load_networks(*weights)
    image = next(iter(Film(film))).image
    [by_torch], [by_onnx] = (predictor(image, [(10, 5, 40, 40)], ["left"]).hands for predictor in (plain[0], fast[0]))
    np.testing.assert_allclose(by_onnx.keypoints, by_torch.keypoints, atol=2e-3)
    np.testing.assert_allclose(by_onnx.vertices, by_torch.vertices, atol=2e-4, rtol=1e-3)
    boxes, other = (finder(image, score=0.1) for finder in (plain[1], fast[1]))
    assert [box.side for box in boxes] == [box.side for box in other]


def test_bad_options_are_told(film, weights, capsys):
    for argv, message in (
        (("--web", film), "--web takes the camera of the page"),
        ((film, "--hands", 0, "--json", "-"), "must be at least 1"),
    ):
        assert run(*argv, weights=weights) == 2
        assert message in capsys.readouterr().err
    assert main([str(film), "--json", "-", "--weights", weights[1], "--detector", weights[1]]) == 2
    assert "expected weights for HandPredictor, got those of HandFinder" in capsys.readouterr().err


def test_the_packaged_clip_is_there():
    assert Film(CLIP).rate == 30
