"""Damages sample files at random and reads them in a child process: no signal, no traceback, no hang, bounded memory.

python tests/fuzz_readers.py [DAMAGES] [READER...]   # 500 damages to the sample of each reader by default

A reader may return what it reads, or raise ValueError, OSError or ImportError with a message of one line. It may take 20 seconds and
ten times the file and 200 MB of memory. `tests/data/files/test_damaged_files.py` runs a short form.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

SECONDS = 20
MEMORY_TIMES, MEMORY_MORE = 10, 200 * 2**20
HEAD = 400  # bytes from the beginning in which half of the damages fall
EXPECTED = (ValueError, OSError, ImportError)
NUMBERS = (b"-1", b"0", b"99999999999", b"1e309", b"nan", b"4294967296", b"x")
RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(60, 3))
FACES = RANDOM.integers(0, 60, (40, 3))


def samples(folder: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """A small good file of each kind, and what reads it."""
    import laspy
    import trimesh
    from pyarrow import Table, feather

    from geo3d.data.files.array_pickle import read_array_pickle, read_cloud_pickle
    from geo3d.data.files.binvox import read_binvox, write_binvox
    from geo3d.data.files.geometry import read_geometry, write_ply
    from geo3d.data.files.point_text import read_point_table
    from geo3d.data.lidar.kitti_labels import read_label_file
    from geo3d.data.lidar.sweeps import read_sweep

    found: dict[str, tuple[Path, Callable[[Path], object]]] = {}

    def add(name: str, content: bytes | None, read: Callable[[Path], object] = read_geometry) -> Path:
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        found[name] = (path, read)
        return path

    table = np.c_[POINTS, RANDOM.random(60)].astype("<f4")
    mesh = trimesh.Trimesh(POINTS, FACES, process=False)
    write_ply(add("cloud.ply", None), POINTS, colors=RANDOM.integers(0, 255, (60, 3)).astype(np.uint8), normals=POINTS)
    for suffix in ("ply", "obj", "off", "stl", "glb"):
        add(f"mesh.{suffix}", b"").write_bytes(_bytes(mesh.export(file_type=suffix)))
    add("text.ply", _bytes(mesh.export(file_type="ply", encoding="ascii")))
    for kind in ("ascii", "binary", "binary_compressed"):
        add(f"{kind}.pcd", _pcd(table, kind))
    normals = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    np.savetxt(add("table.txt", None), np.c_[POINTS, normals], fmt="%.4f")
    np.savetxt(add("table.csv", None), table, fmt="%.4f", delimiter=",", header="x,y,z,intensity", comments="")
    np.save(add("array.npy", None), table)
    np.savez(add("arrays.npz", None), points=POINTS, faces=FACES, normals=POINTS)
    np.savez_compressed(add("packed.npz", None), points=POINTS, intensity=table[:, 3])
    add("rows.bin", table.tobytes(), read_sweep)
    np.save(add("sweep.npy", None, read_sweep), table)
    for suffix in ("las", "laz"):
        cloud = laspy.create(point_format=3, file_version="1.2")
        cloud.x, cloud.y, cloud.z = POINTS.T
        cloud.intensity = (table[:, 3] * 1000).astype(np.uint16)
        cloud.write(add(f"cloud.{suffix}", None))
    columns = {name: RANDOM.random(60).astype(np.float32) for name in ("x", "y", "z", "intensity", "laser_number", "offset_ns")}
    feather.write_feather(Table.from_pydict(columns), add("sweep.feather", None, read_sweep), compression="uncompressed")
    feather.write_feather(Table.from_pydict(columns), add("packed.feather", None, read_sweep), compression="lz4")
    write_binvox(add("grid.binvox", None, read_binvox), RANDOM.random((6, 7, 8)) > 0.7)
    clouds = [np.hstack([POINTS, POINTS]).astype(np.float32) for _ in range(3)], [np.array([1]), np.array([2]), np.array([0])]
    for protocol in (2, 4, 5):
        add(f"clouds{protocol}.pkl", pickle.dumps(clouds, protocol), lambda path: read_cloud_pickle(path, 60))
    infos = [{"name": np.array(["Car", "Sign"]), "boxes": np.zeros((2, 7)), "number": 3, "pose": np.eye(4)}]
    add("infos.pkl", pickle.dumps(infos, 4), read_array_pickle)
    label = b"Car 0.00 0 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62\n"
    add("label.kitti", label * 3, read_label_file)
    np.savetxt(add("table.pts", None, lambda path: read_point_table(path, ("x", "y", "z"))), POINTS, fmt="%.4f")
    return found


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _pcd(table: np.ndarray, kind: str) -> bytes:
    head = (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {len(table)}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(table)}\nDATA {kind}\n"
    )
    if kind == "ascii":
        body = "\n".join(" ".join(map(str, row)) for row in table).encode()
    elif kind == "binary":
        body = table.tobytes()
    else:
        fields = np.ascontiguousarray(table.T).tobytes()
        packed = b"".join(bytes([len(part) - 1]) + part for part in (fields[i : i + 32] for i in range(0, len(fields), 32)))
        body = np.array([len(packed), len(fields)], "<u4").tobytes() + packed
    return head.encode() + body


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The content with one to three damages."""
    for _ in range(int(random.integers(1, 4))):
        end = min(HEAD, len(content)) if random.random() < 0.5 else len(content)
        place = int(random.integers(0, max(end, 1)))
        size = int(random.integers(1, 9))
        kind = int(random.integers(0, 7))
        if kind == 0:
            content = content[:place]
        elif kind == 1:
            content = content[:place] + random.bytes(size) + content[place + size :]
        elif kind == 2:
            content = content[:place] + content[place + size :]
        elif kind == 3:
            content = content[:place] + [b"\xff", b"\0", b"\x7f"][size % 3] * size + content[place + size :]
        elif kind == 4:
            content = content[:place] + content[place : place + 40] * size + content[place:]
        elif kind == 5:  # a number of a text by another
            digits = [i for i in range(place, min(place + 200, len(content))) if content[i : i + 1].isdigit()]
            start = digits[0] if digits else place
            stop = start
            while content[stop : stop + 1].isdigit():
                stop += 1
            content = content[:start] + NUMBERS[int(random.integers(len(NUMBERS)))] + content[stop:]
        else:
            bit = 1 << int(random.integers(8))
            content = content[:place] + bytes([content[place] ^ bit] if place < len(content) else []) + content[place + 1 :]
    return content


def peak_memory() -> int:
    """Largest resident memory since it was last asked, in bytes (Linux); 0 elsewhere."""
    try:
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def child(folder: Path, names: list[str], damages: int, seed: int) -> None:
    """Reads so many damaged files of each kind; prints a line for each that the reader did not take as it should."""
    warnings.simplefilter("ignore")
    found = samples(folder)
    for name in names or found:
        path, read = found[name]
        content = path.read_bytes()
        read(path)  # the good one, which loads what the reader needs
        random = np.random.default_rng(seed)
        for number in range(damages):
            print(f"{name} damage {number}", file=sys.stderr, flush=True)
            target = path.with_name(f"damaged{path.suffix}")
            target.write_bytes(damaged(content, random))
            problem = read_once(target, read)
            if problem:
                kept = Path(os.environ.get("GEO3D_FUZZ_KEEP", folder)) / f"{number}_{name}"
                kept.write_bytes(target.read_bytes())
                print(f"{name} damage {number}: {problem} ({kept})", flush=True)


def read_once(path: Path, read: Callable[[Path], object]) -> str | None:
    """What is wrong with how a reader took a file; None if nothing is. Ends the process after too long a time."""
    peak_memory()
    before = peak_memory()
    signal.alarm(SECONDS)
    problem = None
    try:
        read(path)
    except EXPECTED as error:
        if "\n" in str(error) or path.name not in str(error):
            problem = f"a message of several lines or without the file's name: {str(error)[:200]!r}"
    except BaseException as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    signal.alarm(0)
    more = peak_memory() - before
    if more > MEMORY_TIMES * path.stat().st_size + MEMORY_MORE:
        problem = f"{more / 2**20:.0f} MB of memory"
    return problem


def fuzz(names: list[str], damages: int, seed: int = 0) -> list[str]:
    """The complaints about readers (none named: all of them), each a line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", folder, str(damages), str(seed), *names]
        run = subprocess.run(command, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    if run.returncode:
        last = next((line for line in reversed(run.stderr.splitlines()) if " damage " in line), "the good files")
        reason = f"signal {-run.returncode}" if run.returncode < 0 else f"exit code {run.returncode}: {run.stderr[-400:]}"
        lines.append(f"{last}: {reason}")
    return lines


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[5:], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    damages = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        names = sys.argv[2:] or list(samples(Path(folder)))
    complaints = 0
    for name in names:
        found = fuzz([name], damages)
        complaints += len(found)
        print(f"{name}: {damages} damages, {len(found)} complaints", *found[:5], sep="\n  ", flush=True)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
