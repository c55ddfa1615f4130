"""Freed memory stays with the process that asked for it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import geo3d.heap
import geo3d.tools.cli
from geo3d.tools.cli import KEEP_HEAP

# Allocates and frees 64 MB twenty times and prints the page faults that this took.
SCRIPT = """
import resource
import numpy as np
from geo3d.heap import keep_heap
kept = keep_heap()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(8_000_000)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> tuple[bool, int]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GEO3D_", "MALLOC_"))}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=plain | environment, capture_output=True, text=True, check=True)
    kept, count = run.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is what it tells")
def test_memory_is_reused_unless_switched_off():
    kept, count = faults()
    if not kept:
        pytest.skip("this C library is not glibc")
    off, count_off = faults(GEO3D_KEEP_HEAP="0")
    assert not off
    assert count < count_off / 5


@pytest.mark.parametrize("tool", KEEP_HEAP)
@pytest.mark.parametrize("as_file", [False, True])
def test_commands_that_run_networks_keep_the_heap(tool, as_file, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(geo3d.heap, "keep_heap", lambda: called.append(True))
    monkeypatch.setattr(geo3d.tools.cli, "keep_heap", lambda: called.append(True))
    if as_file:  # python tools/train.py
        monkeypatch.setattr(sys, "argv", [tool, "--help"])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(Path(geo3d.tools.cli.__file__).with_name(f"{tool.replace('-', '_')}.py")), run_name="__main__")
        assert not left.value.code
    else:
        try:
            assert geo3d.tools.cli.main([tool, "--help"]) == 0
        except SystemExit as left:
            assert not left.code
    assert called == [True]
