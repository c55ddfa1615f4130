"""The line that says that functions are being compiled: at the first call alone, and not for what was kept."""

from __future__ import annotations

import os
import subprocess
import sys

from geo3d.tools.compiling import LINE

BODY = """
import numba
from geo3d.tools.compiling import announce_compilation
announce_compilation()
announce_compilation()

@numba.njit(cache=True)
def others(x):
    return x + 2
others(1)
print("others", flush=True)

from geo3d.toy import first, second
first(1), second(1), first(1.0)
"""
TOY = """
import numba

@numba.njit(cache=True)
def first(x):
    return x + 1

@numba.njit(cache=True)
def second(x):
    return x * 3
"""


def run(tmp_path) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "body.py").write_text(f"import geo3d\ngeo3d.__path__.append({str(tmp_path)!r})\n{BODY}")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "body.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_said_once_and_only_where_something_is_compiled(tmp_path):
    assert run(tmp_path).count(LINE) == 1
    assert LINE not in run(tmp_path)  # kept by the first run
