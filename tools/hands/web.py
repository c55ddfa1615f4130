"""A page that sends the frames of its own camera and shows them back with hands: the camera may be elsewhere than the network."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.predict.tracking import HandTracker
from geo3d.tools.hands.stages import Times
from geo3d.viz.access import Access

MAX_BYTES = 4 * 2**20  # of a frame
MAX_PIXELS = 4096 * 4096
QUALITY = 80
PAGE = Path(__file__).with_name("page.html")
SECURITY = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:",
    "Referrer-Policy": "no-referrer",
}


Draw = Callable[..., np.ndarray]


class HandServer:
    """Serves the page.

    Each page has a tracker of its own; networks run one at a time. A page sends a JPEG and gets a text message with what was found and a
    JPEG with it drawn in; it sends the next frame then, so that nothing queues.

    Args:
        make_tracker: for a page that connects.
        draw: of a picture [H, W, 3], what was found, lines of text and `mirror`; gives the picture to show.
        host: address to listen on.
        port: 0 for any that is free.
    """

    def __init__(
        self,
        make_tracker: Callable[[], HandTracker],
        draw: Draw,
        host: str = "127.0.0.1",
        port: int = 0,
    ):
        self.make_tracker, self.draw, self.host, self.port = make_tracker, draw, host, port
        self.access = Access.to(host)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hands")
        self._runner: Any = None

    @property
    def url(self) -> str:
        """Where the page is, token included."""
        return self.access.url(self.port)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the port is taken.
            ImportError: without aiohttp.
        """
        try:
            from aiohttp import web
        except ImportError:
            raise ImportError("--web needs aiohttp, `pip install aiohttp`") from None

        @web.middleware
        async def checked(request: web.Request, handler: Callable[..., Any]) -> Any:
            headers: Any = request.headers  # names come in any case
            refusal = self.access.refusal(request.path_qs, headers)
            return await handler(request) if refusal is None else web.Response(status=403, text=refusal + "\n")

        application = web.Application(middlewares=[checked])
        application.router.add_get("/", self._page)
        application.router.add_get("/frames", self._frames)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _page(self, request: Any) -> Any:
        from aiohttp import web

        headers = {**SECURITY, **self.access.response_headers(request.path_qs)}
        return web.Response(text=PAGE.read_text(encoding="utf-8"), content_type="text/html", headers=headers)

    async def _frames(self, request: Any) -> Any:
        from aiohttp import WSMsgType, web

        socket = web.WebSocketResponse(max_msg_size=MAX_BYTES, heartbeat=20)
        await socket.prepare(request)
        session = _Session(self.make_tracker(), self.draw, "mirror" in request.query)
        loop = asyncio.get_running_loop()
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                continue
            try:
                text, picture = await loop.run_in_executor(self._pool, session.answer, message.data)
            except ValueError as error:
                await socket.send_str(json.dumps({"error": str(error)}))
                continue
            await socket.send_str(text)
            await socket.send_bytes(picture)
        return socket


class _Session:
    """A page's tracker and times."""

    def __init__(self, tracker: HandTracker, draw: Draw, mirror: bool):
        self.tracker, self.draw, self.mirror = tracker, draw, mirror
        self.network, self.whole = Times(), Times()
        self.frames = 0

    def answer(self, data: bytes) -> tuple[str, bytes]:
        """What was found in a JPEG, as JSON, and the drawn JPEG."""
        import cv2

        begun = time.perf_counter()
        image = decoded(data)
        start = time.perf_counter()
        tracked = self.tracker(image, start)
        self.network.add(time.perf_counter() - start)
        network, whole = self.network.percentiles(), self.whole.percentiles()
        lines = [
            f"{tracked.state}: {len(tracked.hands)} hand{'s' * (len(tracked.hands) != 1)}",
            f"network {network[0]:.0f} ms (95 %: {network[1]:.0f})  whole {whole[0]:.0f} ms (95 %: {whole[1]:.0f})",
        ]
        picture = self.draw(image, tracked, lines, mirror=self.mirror)
        _, coded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        self.frames += 1
        self.whole.add(time.perf_counter() - begun)
        hands = [
            {"id": each.identity, "side": each.hand.side, "confidence": round(each.confidence, 3)} for each in tracked.hands
        ]
        return json.dumps({"frame": self.frames, "state": tracked.state, "hands": hands}), coded.tobytes()


def decoded(data: bytes) -> np.ndarray:
    """[H, W, 3] uint8 R, G, B of a JPEG or PNG file.

    Raises:
        ValueError: no picture, or one with too many pixels, which is refused before it is unpacked.
    """
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"a frame has at most {MAX_PIXELS} pixels, got {opened.width} x {opened.height}")
            return np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("expected a JPEG picture") from None


def serve(server: HandServer) -> None:
    """Serve until interrupted."""

    async def run() -> None:
        await server.start()
        print(f"hands: open {server.url} and allow the camera; Ctrl+C ends", flush=True)
        if server.access.token is not None:
            print(
                "browsers give a camera to https pages and to http://127.0.0.1 only: forward the port, or put a proxy before it"
            )
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    asyncio.run(run())
