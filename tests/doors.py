"""Every door of geo3d that takes a file, and what hostile and broken files do there, each in a child process.

A door may take a file or refuse it with ValueError, OSError or ImportError in one line. It may not die of a signal, run code of the file,
show a traceback, take more than `SECONDS`, or more memory than `MEMORY` above what an empty door takes.

python tests/doors.py DOOR FILE   # one file through one door, for a look
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 60
MEMORY = (
    3 * 2**30
)  # address space beyond what the libraries take is not counted well, so the peak of memory in use is looked at
EXPECTED = (ValueError, OSError, ImportError)


def _geometry(path: Path) -> object:
    from geo3d.data.files.geometry import read_geometry

    return read_geometry(path)


def _sweep(path: Path) -> object:
    from geo3d.data.lidar.sweeps import read_sweep

    return read_sweep(path)


def _voxels(path: Path) -> object:
    from geo3d.data.files.binvox import read_binvox

    return read_binvox(path)


def _pickle(path: Path) -> object:
    from geo3d.data.files.array_pickle import read_array_pickle

    return read_array_pickle(path)


def _weights(path: Path) -> object:
    import geo3d

    return geo3d.load(path)


def _tensors(path: Path) -> object:
    from geo3d.zoo import network_tensors

    return network_tensors(str(path))


def _checkpoint(path: Path) -> object:
    from geo3d.tools.checkpoints import read_checkpoint

    return read_checkpoint(path)


def _yaml(path: Path) -> object:
    from geo3d.zoo.configurations import info_of_config

    return info_of_config(path)


def _labels(path: Path) -> object:
    from geo3d.data.lidar.kitti_labels import read_label_file

    return read_label_file(path)


def _hdf5(path: Path) -> object:
    from geo3d.data.shapes.scanobjectnn import _read_h5

    return _read_h5(path)


def _hand(path: Path) -> object:
    from geo3d.body.hands import read_hand

    return read_hand(str(path))


def _export(path: Path) -> object:
    """A folder of `geo3d export` whose files are all this one."""
    import shutil
    import tempfile

    from geo3d.export.dsvt_runtime import read_export

    with tempfile.TemporaryDirectory() as folder:
        for name in ("manifest.json", "rest.safetensors", "map.onnx", "network.onnx"):
            shutil.copy(path, Path(folder) / name)
        return read_export(folder)


def _table(path: Path) -> object:
    """A version's folder of nuScenes whose tables are all this file."""
    import shutil
    import tempfile

    from geo3d.data.lidar.nuscenes_tables import TABLES, NuScenesTables

    with tempfile.TemporaryDirectory() as folder:
        for name in TABLES:
            shutil.copy(path, Path(folder) / f"{name}.json")
        return NuScenesTables(Path(folder))


def _tool(name: str, *arguments: str) -> Callable[[Path], object]:
    """The command of a tool, which must end with code 0 or 2."""

    def door(path: Path) -> object:
        import importlib

        code = importlib.import_module(f"geo3d.tools.{name}").main([argument.format(path) for argument in arguments])
        if code not in (0, 2):
            raise AssertionError(f"exit code {code}")
        return code

    return door


DOORS: dict[str, Callable[[Path], object]] = {
    "geometry": _geometry,
    "sweep": _sweep,
    "voxels": _voxels,
    "pickle": _pickle,
    "weights": _weights,
    "tensors": _tensors,
    "checkpoint": _checkpoint,
    "configuration": _yaml,
    "labels": _labels,
    "hdf5": _hdf5,
    "hand model": _hand,
    "export": _export,
    "nuscenes": _table,
    "train": _tool("train", "{}", "--out=never"),
    "train --resume": _tool("train", "risurconv/generated_classification", "--resume={}", "--out=never"),
    "test --weights": _tool("test", "risurconv/modelnet40", "--weights={}", "--out=never"),
    "predict": _tool("predict", "risurconv-shapes-classifier", "{}"),
    "view": _tool("view", "{}", "--save", "never.png"),
}
# These read what others above read and take long to start: the short form leaves them out.
LONG = ("train", "train --resume", "test --weights", "predict", "view")


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


def files(folder: Path, target: Path) -> dict[str, Path]:
    """Hostile and broken files by name; those with code would make the folder `target`."""
    import torch

    found: dict[str, Path] = {}

    def add(name: str, content: bytes) -> None:
        found[name] = folder / name
        found[name].write_bytes(content)

    code = pickle.dumps(Hostile(str(target)))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    for suffix in ("pkl", "dat", "pth", "ckpt", "npy", "npz", "bin"):
        add(f"code.{suffix}", code)
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": Hostile(str(target))}}, buffer)
    for suffix in ("pth", "ckpt", "safetensors"):
        add(f"code_zip.{suffix}", buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, np.array([Hostile(str(target))], dtype=object))
    add("objects.npy", buffer.getvalue())
    with zipfile.ZipFile(folder / "objects.npz", "w") as archive:
        archive.writestr("points.npy", buffer.getvalue())
    found["objects.npz"] = folder / "objects.npz"
    add("claims.npy", _npy_header((2**40, 3)))
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", _npy_header((2**24, 3)) + bytes(2**24 * 3 * 4))
    found["bomb.npz"] = folder / "bomb.npz"
    add("claims.safetensors", len(header).to_bytes(8, "little") + header)
    add("claims_header.safetensors", (2**60).to_bytes(8, "little") + b"{}")
    add(
        "claims.ply",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\n"
        b"property float x\nproperty float y\nproperty float z\nend_header\n",
    )
    add(
        "claims.pcd",
        b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        b"WIDTH 99999999999\nHEIGHT 9\nPOINTS 899999999991\nDATA binary\n",
    )
    add("claims.off", b"OFF\n99999999999 99999999999 0\n0 0 0\n")
    add("claims.binvox", b"#binvox 1\ndim 99999 99999 99999\ntranslate 0 0 0\nscale 1\ndata\n\x01\xff")
    add("claims.stl", bytes(80) + (2**32 - 1).to_bytes(4, "little"))
    add("claims.las", _las_header(2**31))
    add(
        "aliases.yaml",
        "\n".join(["a0: &a0 [1]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12))]).encode(),
    )
    add("code.yaml", b"model: !!python/object/apply:os.mkdir ['" + str(target).encode() + b"']\n")
    add(
        "class.yaml",
        b"model: {class_path: subprocess.Popen, init_args: {args: [mkdir, "
        + str(target).encode()
        + b"]}}\ndata: {class_path: os.X}\n",
    )
    add("deep.json", b"[" * 200_000)
    add("deep.yaml", b"[" * 200_000)
    add("nan.xyz", b"nan nan nan\n" * 50)
    add("same.xyz", b"1 2 3\n" * 400)
    add("link.gltf", b'{"asset": {"version": "2.0"}, "buffers": [{"uri": "../../../../../../etc/passwd", "byteLength": 99}]}')
    for suffix in (
        "ply",
        "pcd",
        "obj",
        "off",
        "stl",
        "glb",
        "las",
        "npy",
        "npz",
        "bin",
        "txt",
        "csv",
        "binvox",
        "h5",
        "json",
        "yaml",
        "safetensors",
    ):
        add(f"empty.{suffix}", b"")
        add(f"noise.{suffix}", np.random.default_rng(len(suffix)).bytes(3000))
        add(f"zeros.{suffix}", bytes(3000))
    return found


def _npy_header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _las_header(count: int) -> bytes:
    header = bytearray(227)
    header[:4], header[24:26], header[104] = b"LASF", bytes([1, 2]), 0
    header[94:96], header[96:100] = (227).to_bytes(2, "little"), (227).to_bytes(4, "little")
    header[105:107], header[107:111] = (20).to_bytes(2, "little"), count.to_bytes(4, "little")
    return bytes(header)


def problems(door: str, paths: list[Path], target: Path, seconds: float = SECONDS) -> list[str]:
    """What went wrong when files went through a door, one after the other in a child process, which begins anew after each death."""
    found, rest = [], list(paths)
    while rest:
        command = [sys.executable, __file__, door, *map(str, rest)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=target.parent, start_new_session=True
        )
        try:
            out, errors = process.communicate(timeout=seconds + 2 * len(rest))
            end = ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started, which holds the pipes
            out, errors = process.communicate()
            end = "no end"
        done = [line.split("\t") for line in out.splitlines() if line.count("\t") == 2]
        found += [f"{door}: {name}: {text}" for name, state, text in done if state == "bad"]
        if target.exists():
            found.append(f"{door}: one of {[path.name for path in rest]} ran code")
            target.rmdir()
        if len(done) == len(rest):
            break
        if process.returncode < 0 and not end:
            end = f"killed by {signal.Signals(-process.returncode).name}"
        found.append(f"{door}: {rest[len(done)].name}: {end or errors.strip()[-300:]}")
        rest = rest[len(done) + 1 :]
    return found


def _through(door: str, path: Path) -> str | None:
    """What is wrong with how a door deals with a file, None if nothing is."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    errors = io.StringIO()
    stream, sys.stderr = sys.stderr, errors
    output, sys.stdout = sys.stdout, io.StringIO()
    try:
        DOORS[door](path)
    except EXPECTED as error:
        if len(str(error).splitlines()) > 1:
            return f"more than a line: {str(error)[:200]!r}"
    except SystemExit as error:
        if error.code != 2:
            return f"exit code {error.code}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        sys.stderr, sys.stdout = stream, output
    if "Traceback" in errors.getvalue():
        return "a traceback on stderr"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return f"took {grown / 2**20:.0f} MB" if grown > MEMORY else None


if __name__ == "__main__":
    for argument in sys.argv[2:]:
        wrong = _through(sys.argv[1], Path(argument))
        print(Path(argument).name, "bad" if wrong else "good", " ".join((wrong or "").split()) or "-", sep="\t", flush=True)
