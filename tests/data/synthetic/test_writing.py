"""Generated data of any size can be trained on and tested, and a killed generation leaves nothing for long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from geo3d.data import ModelNet40, ShapeNetPart
from geo3d.data.synthetic.renders.generate import _splits
from geo3d.data.synthetic.shapes.generate import CATEGORIES
from geo3d.data.synthetic.writing import new_folder, split_of


@pytest.mark.parametrize("size", [1, 2, 4, 5, 8, 17, 40, 72, 73, 89, 90, 126, 400])
def test_no_split_is_empty(size):
    splits = [split_of(number, size, len(CATEGORIES)) for number in range(size)]
    for name in ("train", "val", "test"):
        assert any(name in each for each in splits), name
    if size >= 5:
        assert all(len(each) == 1 for each in splits)
        assert sum("test" in each for each in splits) <= size / 5
    entries = _splits(size, CATEGORIES)
    for name in ("train", "val", "test"):
        assert sum(len(entry[name]) for entry in entries) == sum(name in each for each in splits)


@pytest.mark.parametrize("size", [1, 7])
def test_few_generated_shapes_are_loaded(size, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path))
    generate = {"size": size, "seed": 0}
    from geo3d.data.generated import GeneratedShapes

    for kind, splits in ((ModelNet40, ("train", "test")), (ShapeNetPart, ("trainval", "test"))):
        data = kind("generated", generate=GeneratedShapes(**generate))
        for split in splits:
            assert len(data.dataset(split)) > 0


SCRIPT = """
import sys, time
from pathlib import Path
from geo3d.data.synthetic.writing import new_folder
with new_folder(sys.argv[1]) as folder:
    (folder / "part").write_text("half")
    print(folder, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start(out, seconds):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(out), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_what_a_killed_run_leaves_the_next_one_clears(tmp_path):
    pytest.importorskip("fcntl", reason="the system has no locks on folders")
    out = tmp_path / "data"
    process, left = start(out, 60)
    working, others = start(out, 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.path.isdir(left)
    (tmp_path / ".data-of-the-user").mkdir()
    with new_folder(out) as folder:
        assert not os.path.exists(left)
        assert os.path.isdir(others)  # of a process that is at work
        (folder / "whole").write_text("")
    working.kill()
    working.wait()
    time.sleep(0.1)
    with pytest.raises(FileExistsError):
        with new_folder(out):
            pass
    assert (out / "whole").is_file() and (tmp_path / ".data-of-the-user").is_dir()


def test_what_a_killed_first_use_leaves_the_next_one_clears(tmp_path):
    """There the folder that is filled lies beside the one that is renamed."""
    pytest.importorskip("fcntl", reason="the system has no locks on folders")
    out = tmp_path / "data"
    left = [tmp_path / ".data-abcdefg0", tmp_path / "..data-abcdefg0-x1_yzabc"]
    for folder in left:
        folder.mkdir()
    with new_folder(out) as outer, new_folder(outer):
        assert not any(folder.exists() for folder in left)
        assert len([folder for folder in tmp_path.iterdir() if folder.name.startswith(".")]) == 2
    assert [folder.name for folder in tmp_path.iterdir()] == ["data"]


AT_WORK = """
import os, sys, time
from functools import partial
from geo3d.data.synthetic.writing import write_each

def write(folder, number):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(300)

if __name__ == "__main__":
    write_each(partial(write, sys.argv[1]), 100, 2, title="", unit="", fewest=1, chunk=1)
"""


@pytest.mark.skipif(not os.path.isfile("/proc/self/stat"), reason="processes are read from /proc, which Linux has")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(AT_WORK)
    (tmp_path / "begun").mkdir()
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "begun")], stderr=subprocess.DEVNULL)
    workers: list[str] = []
    try:
        until = time.monotonic() + 120
        while len(workers) < 2 and time.monotonic() < until:
            time.sleep(0.1)
            workers = os.listdir(tmp_path / "begun")
    finally:
        process.kill()
        process.wait()
    assert len(workers) == 2
    until = time.monotonic() + 30
    while any(is_alive(worker) for worker in workers) and time.monotonic() < until:
        time.sleep(0.1)
    left = [worker for worker in workers if is_alive(worker)]
    for worker in left:
        os.kill(int(worker), signal.SIGKILL)
    assert left == []


def is_alive(process: str) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
