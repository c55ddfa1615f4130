"""What a compiler without a GPU shows of the Triton kernels: that they compile, what they need, how many programs, on which device."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytest.importorskip("triton", reason="Triton comes with the CUDA builds of torch for Linux")

from launches import LAUNCHES, kernels
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction
from triton_device import OnDevice

from geo3d.ops.cuda import set_attention

STACK = 256  # bytes of a thread: more are registers that spill to memory
SHARED = 99 * 1024  # bytes of a program on GPUs of compute capability 8.6 and 8.9
AXES = (2**31 - 1, 65_535, 65_535)  # most programs


@pytest.fixture(scope="module", params=[80, pytest.param(90, marks=pytest.mark.sm_90)], ids=["sm_80", "sm_90"])
def records(request):
    """What the process that compiles everything prints. Triton keeps what it compiled in its cache folder."""
    script = Path(__file__).parent / "compile_kernels.py"
    done = subprocess.run([sys.executable, script, str(request.param)], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_is_compiled(records):
    assert len(kernels()) > 15
    assert sorted(set(kernels()) - {record.get("kernel") for record in records}) == [], "add a call to tests/ops/launches.py"


def test_registers_suffice(records):
    assert [record for record in records if record.get("stack", 0) > STACK] == []


def test_shared_memory_suffices(records):
    assert [record for record in records if record.get("shared", 0) > SHARED] == []


def test_other_sizes_compile_nothing_anew(records):
    assert [record for record in records if "again" in record] == []


def test_distances_and_overlaps_round_as_on_the_cpu(records):
    """No fused multiply-adds where results are compared with each other or a threshold."""
    exact = tuple(
        f"geo3d.ops.cuda.{name}." for name in ("neighbors", "neighbors_by_blocks", "sampling", "boxes", "points_in_boxes")
    )
    assert {record["kernel"] for record in records if record.get("fused") and record["kernel"].startswith(exact)} == set()


@pytest.fixture(params=LAUNCHES)
def launched(request, monkeypatch):
    """Grid, kernel and current device of the launches for the largest workload, whose tensors have shapes and no memory."""
    seen, current = [], []

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            current.append(self.device)

        def __exit__(self, *_):
            current.pop()

    def run(kernel, *arguments, grid, warmup, **constants):
        seen.append((kernel.fn.__name__, grid, current[-1] if current else None))

    for kind in (InterpretedFunction, JITFunction):
        monkeypatch.setattr(kind, "run", run)
    monkeypatch.setattr(torch.cuda, "device", Device)
    launch = LAUNCHES[request.param]
    with FakeTensorMode(), torch.device("cuda:1"):
        launch.call(launch.most, launch.dtypes[0])
    assert seen
    return seen


def test_largest_workloads_fit_the_grid(launched):
    too_large = [(name, grid) for name, grid, _ in launched if any(size > most for size, most in zip(grid, AXES, strict=False))]
    assert too_large == []


def test_kernels_are_launched_on_the_device_of_their_tensors(launched):
    assert {device for _, _, device in launched} == {torch.device("cuda:1")}


def test_wide_heads_are_told_before_the_launch():
    tensors = [torch.zeros(4, 130)] * 3
    arguments = (torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.bool), 1, 1.0)
    with pytest.raises(ValueError, match="a head has at most 128 channels in torch.float32, got 130"):
        set_attention.set_attention(*tensors, *arguments)


def test_inputs_go_to_the_device_of_the_kernels_and_results_come_back():
    seen = []

    def function(first, pair, *, weight):
        seen.extend(tensor.device.type for tensor in (first, *pair, weight))
        return first.new_zeros(2, device="cpu"), (pair[0],)

    module = ModuleType("launchers")
    module.function = function
    x = torch.rand(2)
    with FakeTensorMode(allow_non_fake_inputs=True):
        results = OnDevice(module, "meta").function(x, (x, x), weight=x)
    assert seen == ["meta"] * 4 and [results[0].device.type, results[1][0].device.type] == ["cpu", "cpu"]


def test_no_test_hands_a_kernel_tensors_of_the_wrong_device():
    """Launchers are called through `OnDevice`, so that the tests of kernels run on a GPU as they are."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for name in re.findall(r"^from geo3d\.ops\.cuda import (\w+ as )?(\w+)$", path.read_text(), re.MULTILINE):
            assert path == Path(__file__) or f"OnDevice({name[1]})" in path.read_text(), path.name
