"""Which library computes the ops that others have, too: geo3d's own kernels unless the user chooses otherwise."""

from __future__ import annotations

import importlib
import os
from types import ModuleType, TracebackType
from typing import Literal, NamedTuple, get_args

Scatter = Literal["geo3d", "torch_scatter"]
SparseConv = Literal["geo3d", "spconv"]

VARIABLE = "GEO3D_USE"
NAMES = {"scatter": get_args(Scatter), "sparse_conv": get_args(SparseConv)}
INSTALL = {
    "torch_scatter": "pip install --no-build-isolation 'geo3d[torch-scatter]' compiles it",
    "spconv": "pip install 'geo3d[spconv]' is for the CPU, its builds for CUDA are spconv-cu120 and its like",
}
OWN = "geo3d"


class Choice(NamedTuple):
    """A library's name, and what chose it: "" by default."""

    library: str
    by: str


_chosen: dict[str, Choice] = {}  # by kind of op; empty until somebody asks


class use:
    """Choose the library that computes scatter reductions or sparse convolutions, for the whole process.

    The choice holds until the next one, or to the end of a `with` block. Without it geo3d's own kernels are used whatever is
    installed. The environment variable GEO3D_USE ("scatter=torch_scatter,sparse_conv=spconv") chooses from the start.

    Args:
        scatter: "torch_scatter" for every `scatter_*` reduction, forward and backward, "geo3d" for our own; left as it is by default.
            `scatter_plan` stays ours: the library takes the index of the plan. Results are the same within rounding
            for finite values. Where several rows share a maximum, it does not say on CUDA which one wins, and there it adds in an
            order that differs between runs.
        sparse_conv: "spconv" for `sparse_conv3d`, "geo3d" for our own. Plans stay ours: the library gets their tables. On the
            CPU it has no gradient and is right on one thread only, which `sparse_conv3d` then asks for.

    Both have gradients of first order, and `torch.compile` breaks its graph at them.

    Raises:
        ValueError: a name that is neither.
        ImportError: the library is not installed.

    Example:
        >>> with use(scatter="geo3d"):
        ...     pass
    """

    def __init__(self, *, scatter: Scatter | None = None, sparse_conv: SparseConv | None = None) -> None:
        self._before = {kind: chosen(kind) for kind in NAMES}
        wanted = {"scatter": scatter, "sparse_conv": sparse_conv}
        _choose({kind: name for kind, name in wanted.items() if name is not None}, "geo3d.ops.use")

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _chosen.update(self._before)


def chosen(kind: str) -> Choice:
    """The library for "scatter" or "sparse_conv"."""
    if not _chosen:
        _read_environment()
    return _chosen[kind]


def library(kind: str) -> ModuleType | None:
    """Our module that calls the chosen library, None where that is geo3d itself."""
    name = chosen(kind).library
    return None if name == OWN else importlib.import_module(f"geo3d.ops.libraries.{name}")


def _read_environment() -> None:
    given = os.environ.get(VARIABLE, "").strip()
    pairs = [item.partition("=") for item in given.split(",")] if given else []
    _chosen.update({kind: Choice(OWN, "") for kind in NAMES})
    try:
        _choose({kind.strip(): name.strip() for kind, _, name in pairs}, VARIABLE)
    except (ImportError, ValueError):
        _chosen.clear()
        raise


def _choose(wanted: dict[str, str], by: str) -> None:
    for kind, name in wanted.items():
        if kind not in NAMES:
            raise ValueError(f"{by}: expected scatter=LIBRARY or sparse_conv=LIBRARY, got {kind!r}")
        if name not in NAMES[kind]:
            raise ValueError(f"{by}: {kind} must be one of {', '.join(NAMES[kind])}, got {name!r}")
        if name != OWN:
            try:
                importlib.import_module(name)
            except ImportError as error:
                raise ImportError(f"{by}: {kind}={name}: {error}; {INSTALL[name]}") from None
    _chosen.update({kind: Choice(name, by) for kind, name in wanted.items()})
