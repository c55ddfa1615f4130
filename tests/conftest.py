"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before any kernel is defined: Triton then runs them on CPU tensors

import pytest
from shared_folders import SAMPLES

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(2)


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
