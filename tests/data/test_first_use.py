"""Two processes that use an empty cache for the first time, at the same moment: both get what they want, and the cache is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from geo3d.data.synthetic.shapes.generate import write_shapes

# Both wait until the other is ready to begin.
TOGETHER = """
import os, sys, time
from pathlib import Path

def together(meet):
    Path(meet, str(os.getpid())).touch()
    until = time.monotonic() + 240
    while len(os.listdir(meet)) < 2:
        assert time.monotonic() < until, "the other process did not come"
        time.sleep(0.001)
"""

GENERATE = (
    TOGETHER
    + """
from geo3d.data import GeneratedShapes
from geo3d.data.generated import resolve_root
from geo3d.data.synthetic.shapes import generate

write = generate.write_shapes
def write_together(*arguments, **options):
    write(*arguments, **options)
    together(sys.argv[1])  # so that both are about to put their folder in the one place

if __name__ == "__main__":
    together(sys.argv[2])
    generate.write_shapes = write_together
    print(resolve_root("test", "generated", GeneratedShapes(size=6, num_points=30), GeneratedShapes()))
"""
)

COMPILE = (
    TOGETHER
    + """
import torch
from geo3d.ops import scatter_max

if __name__ == "__main__":
    together(sys.argv[1])
    print(scatter_max(torch.tensor([[1.0], [5.0], [2.0], [4.0]]), torch.tensor([0, 1, 0, 1]), 2)[0].tolist())
"""
)


def run_two(tmp_path: Path, script: str, names: tuple[str, ...], **environment: str) -> list[str]:
    """What two processes print that start at the same moment; each meets the other in folders of these names."""
    (tmp_path / "script.py").write_text(script)
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), *map(str, folders)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], [error[-2000:] for _, error in outputs]
    return [output for output, _ in outputs]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_generated_data(tmp_path):
    """Both write it, both are ready to put it in its place, and one does."""
    first, second = run_two(tmp_path, GENERATE, ("ready", "begun"), GEO3D_DATA=str(tmp_path / "cache"))
    assert first == second
    folder = Path(first.strip())
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing is left beside it
    write_shapes(tmp_path / "alone", 6, 0, num_points=30)
    assert contents(folder) == contents(tmp_path / "alone") and len(contents(folder)) > 6


def test_compiled_functions(tmp_path):
    """Both compile and keep, and a third process, which meets those who have ended, compiles nothing."""
    cache = tmp_path / "numba"
    first, second = run_two(tmp_path, COMPILE, ("meet",), NUMBA_CACHE_DIR=str(cache))
    assert first == second == "[[2.0], [5.0]]\n"
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}  # no files that were to take the place of others
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "meet")]
    third = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert third.returncode == 0 and third.stdout == first, third.stderr
    assert kept == {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
