"""Who may talk to a server of this process: its own page, and beyond this machine only who has the token."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import parse_qs, quote, urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Headers(Protocol):
    """Header fields of a request, whose names come in any case; those of `http.server`, aiohttp and websockets are such."""

    def get(self, name: str, default: str = ..., /) -> str | None: ...


@dataclass(frozen=True)
class Access:
    """The check of every request, a WebSocket's handshake included, of a server that listens on `host`.

    A page of another site can send requests to servers of this machine, and open WebSockets, whose answers it may read. Requests that say
    that they come from another page (`Origin`) are refused, and on the loopback those that name another host than this machine (`Host`;
    a name of another site can be made to point here). A server that is open wider has a token in its address, which a first request sets
    as a cookie and without which nothing is answered.

    Attributes:
        host: address that the server listens on.
        token: part of the address; made up where the host is not the loopback, None on it.
    """

    host: str
    token: str | None = field(default=None, repr=False)

    @staticmethod
    def to(host: str) -> Access:
        """For a server that listens on a host."""
        return Access(host, None if host in LOOPBACK else secrets.token_urlsafe(16))

    def url(self, port: int) -> str:
        """Where to look, token included."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else "[::1]" if self.host == "::" else self.host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{host}:{port}" + (f"/?token={quote(self.token)}" if self.token is not None else "")

    def refusal(self, target: str, headers: Headers) -> str | None:
        """Why a request is refused, in a sentence for who sent it; None if it is not.

        Args:
            target: path and query of the request.
            headers: of the request.
        """
        own, origin = headers.get("Host") or "", headers.get("Origin")
        if origin is not None and (urlsplit(origin).netloc != own or not own):
            return f"this is another page's server: Origin is {origin}"
        if self.token is None:
            name = urlsplit(f"//{own}").hostname
            return None if not own or name in (*LOOPBACK, self.host) else f"this server is called {self.host}, not {name}"
        given = [*parse_qs(urlsplit(target).query).get("token", []), *self._from_cookies(headers)]
        if any(hmac.compare_digest(each.encode(), self.token.encode()) for each in given):
            return None
        return "open the whole address that geo3d printed; the token in it is missing or wrong"

    def response_headers(self, target: str) -> Mapping[str, str]:
        """What the answer to a request that was not refused must have beside its own: the cookie, where the address had the token."""
        if self.token is None or self.token not in parse_qs(urlsplit(target).query).get("token", []):
            return {}
        return {"Set-Cookie": f"{self._cookie()}={self.token}; Path=/; HttpOnly; SameSite=Strict"}

    def _cookie(self) -> str:
        """Name of the cookie, another one for each server: cookies know no ports."""
        return "geo3d-" + hashlib.sha256((self.token or "").encode()).hexdigest()[:12]

    def _from_cookies(self, headers: Headers) -> list[str]:
        try:
            cookies = SimpleCookie(headers.get("Cookie") or "")
        except CookieError:
            return []
        return [morsel.value for name, morsel in cookies.items() if name == self._cookie()]
