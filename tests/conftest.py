"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

# The one switch of where kernels run, before any is defined: in Triton's interpreter on CPU tensors, or on the GPU with "0".
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
import torch
from shared_folders import SAMPLES
from triton_device import DEVICE

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def pytest_report_header() -> str:
    return f"Triton kernels run on {DEVICE} tensors{' in the interpreter' if DEVICE == 'cpu' else ''}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what compiles for other GPUs, and what runs for minutes, unless it is asked for."""
    for marker in ("sm_90", "long"):
        if marker not in config.option.markexpr:
            left_out = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill uninitialised tensors with NaN or the largest integer, so that an element that a kernel never writes is seen."""
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        original = getattr(owner, name)

        def poisoned(*args, _original=original, **kwargs):
            tensor = _original(*args, **kwargs)
            if tensor.device.type == "meta" or type(tensor) is not torch.Tensor or not tensor.numel():
                return tensor
            return tensor.fill_(torch.nan if tensor.is_floating_point() else _largest(tensor.dtype))

        monkeypatch.setattr(owner, name, poisoned)


def _largest(dtype: torch.dtype) -> int | bool:
    return torch.iinfo(dtype).max if dtype not in (torch.bool,) and not dtype.is_complex else True


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real data samples (GEO3D_SAMPLES)."""
    folder = SAMPLES
    if not folder.is_dir():
        pytest.skip(f"no real data samples in {folder} (GEO3D_SAMPLES)")
    return folder
