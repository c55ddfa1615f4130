"""The page of the hand demo: its WebSocket by itself, and the whole in headless Chromium with a fake camera."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from geo3d.geometry.virtual_camera import default_camera_matrix
from geo3d.predict.hands import FoundHand
from geo3d.predict.tracking import TrackedFrame, TrackedHand
from geo3d.tools.hand_demo import draw_frame
from geo3d.tools.hands.web import MAX_BYTES, HandServer, decoded

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp serves the page: pip install aiohttp")
RED = (200, 30, 40)


class ColorTracker:
    """Finds a hand where a picture is red."""

    def __call__(self, image, when):
        height, width = image.shape[:2]
        is_red = (np.abs(image.astype(int) - RED) < 60).all(-1)
        matrix = default_camera_matrix(width, height)
        if is_red.mean() < 0.01:
            return TrackedFrame((), True, matrix, True)
        rows, columns = np.nonzero(is_red)
        keypoints = np.tile([columns.mean(), rows.mean()], (21, 1)) + np.random.default_rng(0).normal(0, 5, (21, 2))
        points = np.concatenate([keypoints, np.ones((21, 1))], 1) @ np.linalg.inv(matrix).T
        hand = FoundHand("left", np.array([0, 0, 1, 1.0]), keypoints, points, np.full((778, 3), np.nan))
        return TrackedFrame((TrackedHand(1, hand, 0.75, 3),), False, matrix, True)


def jpeg(array) -> bytes:
    return cv2.imencode(".jpg", np.ascontiguousarray(array[..., ::-1]))[1].tobytes()


@pytest.fixture
def serving():
    """Serves for one test, in a thread; gives a function that starts a server on a host."""
    servers = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def start(host="127.0.0.1"):
        server = HandServer(ColorTracker, draw_frame, host)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
        servers.append(server)
        return server

    yield start
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def talk(server, *messages, headers=None, query=""):
    """Send messages one after the other; the answers to each, or the code with which the server closed the socket."""

    async def run():
        answers = []
        async with aiohttp.ClientSession() as session:
            address = f"http://127.0.0.1:{server.port}/frames{query}"
            async with session.ws_connect(address, headers=headers or {}, max_msg_size=2**24) as socket:
                for message in messages:
                    try:
                        await socket.send_bytes(message)
                    except ConnectionError:  # the server hung up before all of it was sent
                        return answers, 1009
                    first = await socket.receive(timeout=20)
                    if first.type is not aiohttp.WSMsgType.TEXT:
                        return answers, socket.close_code
                    found = json.loads(first.data)
                    picture = None if "error" in found else (await socket.receive(timeout=20)).data
                    answers.append((found, picture))
        return answers, None

    return asyncio.run(run())


def test_frames_come_back_with_hands(serving):
    server = serving()
    gray, red = np.full((120, 160, 3), 90, np.uint8), np.full((120, 160, 3), 90, np.uint8)
    red[40:80, 60:100] = RED
    answers, _ = talk(server, jpeg(gray), jpeg(red))
    (nothing, first), (something, second) = answers
    assert nothing == {"frame": 1, "state": "searching", "hands": []}
    assert something == {"frame": 2, "state": "tracking", "hands": [{"id": 1, "side": "left", "confidence": 0.75}]}
    assert decoded(first).shape == decoded(second).shape == (120, 160, 3)
    around = decoded(second)[40:80, 60:100].astype(int)
    assert (np.abs(around - RED).max(-1) > 60).mean() > 0.05  # a skeleton is drawn


def test_mirrored_pictures_come_back_mirrored(serving):
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, :40] = 250
    [(_, picture)], _ = talk(serving(), jpeg(image), query="?mirror=1")
    assert decoded(picture)[-10:, -20:].mean() > 200 and decoded(picture)[-10:, :20].mean() < 40


def test_what_is_no_picture_is_told_and_the_next_frame_goes_on(serving):
    good = jpeg(np.zeros((16, 16, 3), np.uint8))
    answers, closed = talk(serving(), b"no picture", good, good[:60], good)
    assert [("error" in found) for found, _ in answers] == [True, False, True, False] and closed is None
    assert answers[0][0]["error"] == "expected a JPEG picture"


def test_frames_over_four_megabytes_are_refused(serving):
    server = serving()
    answers, code = talk(server, b"x" * (MAX_BYTES + 1))
    assert answers == [] and code == 1009  # message too big
    answers, code = talk(server, jpeg(np.zeros((16, 16, 3), np.uint8)))
    assert len(answers) == 1 and code is None


def test_pictures_with_too_many_pixels_are_refused_before_they_are_unpacked():
    file = io.BytesIO()
    Image.new("1", (5000, 5000)).save(file, "PNG")
    with pytest.raises(ValueError, match="has at most"):
        decoded(file.getvalue())


def test_other_pages_are_refused(serving):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        talk(serving(), b"", headers={"Origin": "http://elsewhere.example"})
    assert refused.value.status == 403


def test_servers_that_are_open_wider_want_the_token(serving):
    server = serving("0.0.0.0")
    assert f"token={server.access.token}" in server.url
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        talk(server, b"")
    assert refused.value.status == 403
    answers, _ = talk(server, jpeg(np.zeros((16, 16, 3), np.uint8)), query=f"?token={server.access.token}")
    assert len(answers) == 1


@pytest.fixture
def fake_camera(tmp_path):
    """An .mjpeg file of a red square that moves, which Chromium takes for a camera."""
    path = tmp_path / "camera.mjpeg"
    with path.open("wb") as file:
        for step in range(30):
            image = np.full((240, 320, 3), 60, np.uint8)
            image[90:150, 60 + 5 * step : 120 + 5 * step] = RED
            file.write(jpeg(image))
    return path


def wait_for(page, condition, seconds=60):
    """Wait until an expression is true; the page's policy forbids what playwright waits with."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def test_the_page_in_chromium(serving, fake_camera):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
    server = serving()
    options = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={fake_camera}",
    ]
    path = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=options)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium here (apt-get install chromium, or playwright install chromium): {error.message[:80]}")
        page = browser.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(server.url)
        wait_for(page, "window.geo3dFrames > 8")
        assert page.evaluate("window.geo3dHands")[0]["side"] == "left"
        assert "tracking: left 75 %" in page.text_content("#state")
        assert page.evaluate("document.getElementById('picture').naturalWidth") == 320
        wait_for(page, "window.geo3dFrames > 60")
        page.click("#mirror")
        wait_for(page, "window.geo3dFrames < 60")  # another connection, counted anew, which is seen for a second at least
        page.click("#stop")
        assert page.text_content("#state").startswith("stopped")
        frames = page.evaluate("window.geo3dFrames")
        time.sleep(0.5)
        assert page.evaluate("window.geo3dFrames") <= frames + 1
        browser.close()
    assert problems == []
