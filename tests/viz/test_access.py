"""Who is answered by the live view: its own page, and from other machines only who has the token."""

from __future__ import annotations

import http.client
import re
from urllib.parse import urlsplit

import numpy as np
import pytest

from geo3d.viz import Scene
from geo3d.viz.access import Access

pytest.importorskip("viser", reason="viser serves the live view: pip install 'geo3d[viewer]'")
from websockets.exceptions import InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def live(request):
    scene = Scene()
    scene.add_points(np.random.default_rng(0).random((50, 3)))
    with scene.serve(host=request.param, port=8650) as live:
        yield live


def get(url: str, target: str, **headers: str):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", target, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def handshake(url: str, **headers: str) -> int:
    """Status of a WebSocket's handshake; 101 lets the scene through."""
    import viser

    address = f"ws://{urlsplit(url).netloc}"
    origin = headers.pop("Origin", None)
    try:
        protocol = [f"viser-v{viser.__version__}"]
        with connect(address, origin=origin, subprotocols=protocol, additional_headers=headers, open_timeout=20) as socket:
            assert len(socket.recv(timeout=20)) > 10  # the scene begins to come
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_only_the_own_page_is_answered(live):
    parts = urlsplit(live.url)
    own, target = f"http://{parts.netloc}", f"{parts.path or '/'}?{parts.query}"
    response, body = get(live.url, target)
    assert response.status == 200 and b"<html" in body.lower()
    cookie = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]} if parts.query else {}
    assert handshake(live.url, Origin=own, **cookie) == 101
    assert handshake(live.url, Origin="http://evil.example", **cookie) == 403
    assert handshake(live.url, Origin="null", **cookie) == 403
    assert handshake(live.url, Origin=f"http://127.0.0.1:{parts.port + 1}", **cookie) == 403
    assert get(live.url, target, Origin="http://evil.example")[0].status == 403
    if not parts.query:
        assert get(live.url, "/", Host="evil.example")[0].status == 403  # a foreign name that points to this machine


def test_a_wide_server_wants_its_token(live):
    parts = urlsplit(live.url)
    if not parts.query:
        assert "token" not in live.url
        return
    assert re.fullmatch(r"token=[\w-]{20,}", parts.query)
    for target in ("/", "/?token=guess", "/index.html", "/assets/x.js?token="):
        response, body = get(live.url, target)
        assert response.status == 403 and b"token" in body and "Set-Cookie" not in response.headers
    assert handshake(live.url) == 403 and handshake(live.url, Cookie="geo3d-0=guess") == 403
    response, _ = get(live.url, f"/?{parts.query}")
    assert "HttpOnly" in response.headers["Set-Cookie"] and "SameSite=Strict" in response.headers["Set-Cookie"]


def test_tokens_differ_and_are_not_printed():
    first, second = Access.to("0.0.0.0"), Access.to("0.0.0.0")
    assert first.token and first.token != second.token and first.token not in repr(first)
    assert Access.to("127.0.0.1").token is None and Access.to("127.0.0.1").url(80) == "http://127.0.0.1:80"
    assert Access.to("::").url(80).startswith("http://[::1]:80/?token=")
    assert first.refusal("/", {"Cookie": 'a="b; ;;', "Host": "x"}) is not None
