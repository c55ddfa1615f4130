"""Whether there is a display to open a window on."""

from __future__ import annotations

import os
import re
import socket
import sys

WAIT = 2.0  # seconds for a display on another machine


def missing_display() -> str | None:
    """What is wrong with the display on Linux, in a few words; None where there is one, and on other systems."""
    if not sys.platform.startswith("linux") or os.environ.get("WAYLAND_DISPLAY"):
        return None
    name = os.environ.get("DISPLAY")
    if not name:
        return "DISPLAY is not set"
    return None if _answers(name) else f"no X server answers at DISPLAY {name}"


def _answers(name: str) -> bool:
    """Whether an X server listens: Open3D would wait for one without end."""
    parts = re.fullmatch(r"(unix|[^:/]*):(\d+)(\.\d+)?", name)
    if parts is None:
        return True  # some form that is not known here
    host, number = parts[1], int(parts[2])
    if host not in ("", "unix"):
        try:
            socket.create_connection((host, 6000 + number), WAIT).close()
        except OSError:
            return False
        return True
    path = f"/tmp/.X11-unix/X{number}"
    return any(_connects(address) for address in (path, "\0" + path))


def _connects(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as end:
        try:
            end.connect(address)
        except OSError:
            return False
    return True
