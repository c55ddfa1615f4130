"""Reading parity cases: a folder with meta.json and arrays.npz, and weights that are drawn by a rule.

meta.json     model, kind, config, state_dict [[reference name, shape], ...], tolerance {rtol, atol}
arrays.npz    in.* inputs, const.* constants, mid.* intermediate values and out.* outputs of the authors' code
"""

from __future__ import annotations

import ast
import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
NOTED_TOLERANCES = {  # what the notes of a model's cases say in words
    "lrgt": {
        "mid.logits": {"rtol": 2e-4, "atol": 4e-4},
        "out.iou": {"rtol": 0.0, "atol": 5e-4},  # a voxel may cross a threshold
        "out.loss_dice*": {"rtol": 1e-5, "atol": 0.0},
        "out.grad_norm": {"rtol": 1e-4, "atol": 0.0},
        "out.running_*": {"rtol": 1e-4, "atol": 1e-5},
        "out.fscore_*": {"rtol": 0.0, "atol": 0.01},  # points drawn at random on the surfaces
    }
}


class Settings(dict[str, Any]):
    """Settings of a case that remember which keys were read, those within them too, so that none is silently dropped."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__({key: _recording(value) for key, value in settings.items()})
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default

    def items(self) -> Any:
        self.read.update(self)
        return super().items()

    def values(self) -> Any:
        self.read.update(self)
        return super().values()

    def unread(self) -> list[str]:
        """Paths of the keys that nothing asked for, such as MODEL.VFE.NAME."""
        return [path for key, value in super().items() for path in ([key] if key not in self.read else _unread(key, value))]


def _recording(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Settings(value)
    return [_recording(each) for each in value] if isinstance(value, list) else value


def _unread(path: str, value: Any) -> list[str]:
    if isinstance(value, Settings):
        return [f"{path}.{key}" for key in value.unread()]
    if isinstance(value, list):
        return [below for i, each in enumerate(value) for below in _unread(f"{path}.{i}", each)]
    return []


@dataclass(frozen=True)
class Case:
    """One case folder."""

    folder: Path

    @property
    def id(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @cached_property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.folder / "meta.json").read_text())

    @cached_property
    def config(self) -> Settings:
        return Settings(self.meta["config"])

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "arrays.npz") as archive:
            return {name: archive[name] for name in archive.files}

    def tensor(self, name: str) -> Tensor:
        """An array of the case as a tensor."""
        return torch.from_numpy(self.arrays[name])

    @cached_property
    def state_dict(self) -> dict[str, Tensor]:
        """The reference's tensors: drawn by the rule, or stored under const.NAME."""
        drawn = {name: drawn_tensor(name, tuple(shape)) for name, shape in self.meta["state_dict"]}
        stored = {name: self.arrays[f"const.{name}"].astype(np.float32) for name in drawn if f"const.{name}" in self.arrays}
        return {name: torch.from_numpy(array) for name, array in (drawn | stored).items()}

    def tolerance(self, name: str) -> dict[str, float]:
        """rtol and atol of an array."""
        for pattern, tolerance in self.meta.get("tolerance_by_array", {}).items():
            if fnmatch(name, pattern):
                return tolerance
        for pattern, tolerance in NOTED_TOLERANCES.get(self.meta["model"], {}).items():
            if fnmatch(name, pattern):
                return tolerance
        if name in self.meta.get("tolerance_for", {}):
            return self.meta["tolerance_for"][name]
        if name.startswith("out.grad."):
            largest = float(np.abs(self.arrays[name]).max())
            if "tolerance_grad" in self.meta:
                return {"rtol": 0.0, "atol": self.meta["tolerance_grad"]["of_largest_absolute_value"] * largest}
            if "grad" in self.meta["tolerance"]:  # atol: "FACTOR * max|reference gradient of that tensor|"
                gradient = self.meta["tolerance"]["grad"]
                return {"rtol": gradient["rtol"], "atol": float(gradient["atol"].partition(" * max")[0]) * largest}
        return {key: self.meta["tolerance"][key] for key in ("rtol", "atol")}


def check_fixed(settings: Settings, expected: Mapping[str, Any]) -> None:
    """Settings for which ours has one value alone, those within them too; another one fails."""
    for name, value in expected.items():
        if isinstance(value, Mapping):
            check_fixed(settings[name], value)
        else:
            assert settings[name] == value, f"{name}: {value} alone is supported, got {settings[name]}"


def find_cases() -> list[Case]:
    """Every case below the folders in GEO3D_PARITY (os.pathsep between them); of equal ids, the first."""
    default = os.pathsep.join([str(HERE / "cases"), str(HERE.parents[2] / "shared" / "parity")])
    found: dict[str, Case] = {}
    for folder in os.environ.get("GEO3D_PARITY", default).split(os.pathsep):
        for path in sorted(Path(folder).rglob("meta.json")) if folder else []:
            case = Case(path.parent)
            found.setdefault(case.id, case)
    return list(found.values())


def drawn_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values that the rule of the cases gives the reference's tensor `name`."""
    stream = np.random.RandomState(zlib.crc32(name.encode()))
    if len(shape) >= 2:
        values = stream.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    elif name.endswith("running_var"):
        values = 0.5 + stream.random_sample(shape)
    elif len(shape) == 0 or name.endswith("weight"):
        values = 1 + 0.1 * stream.standard_normal(shape)
    else:
        values = 0.1 * stream.standard_normal(shape)
    return np.asarray(values, dtype=np.float32)


def drawn_input(note: str) -> Tensor:
    """An input that a case draws by its name; `note` says how: `... uniform_input("NAME", (SHAPE), LOW, HIGH)`."""
    return drawn_tensor_between(*ast.literal_eval(note[note.index("uniform_input(") + len("uniform_input") :]))


def drawn_tensor_between(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """The float32 values in [low, high) that the rule of the cases gives the input `name`."""
    stream = np.random.RandomState(zlib.crc32(name.encode()))
    return torch.from_numpy((low + (high - low) * stream.random_sample(shape)).astype(np.float32))
