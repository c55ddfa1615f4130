"""Compile what the launchers launch for a GPU that is not here: `python compile_kernels.py 80` prints one JSON record per kernel.

A process of its own, since Triton decides when it is imported whether kernels are interpreted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "0"

import torch
import triton
from launches import LAUNCHES, kernels
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

ROWS = 3000  # of the launches that are compiled; the kernels do not depend on it


class Driver:
    """What Triton asks of the driver before it compiles."""

    def __init__(self, arch: int) -> None:
        self.target = GPUTarget("cuda", arch, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self.target


def main(arch: int) -> None:
    driver.set_active(Driver(arch))
    run, compiled = JITFunction.run, {}

    def compile_only(kernel, *arguments, grid, warmup, **constants):
        begin = time.perf_counter()
        result = run(kernel, *arguments, grid=grid, warmup=True, **constants)
        compiled.setdefault(result.hash, (result, _name(kernel), case, time.perf_counter() - begin))

    JITFunction.run = compile_only
    for name, launch in LAUNCHES.items():
        for dtype in launch.dtypes:
            case = f"{name}, {str(dtype).removeprefix('torch.')}"
            launch.call(ROWS, dtype)
    for result, kernel, case, seconds in compiled.values():
        fused = len(re.findall(r"\bfma\.rn\.f(?:32|64)", result.asm["ptx"])) if result.metadata.enable_fp_fusion else 0
        record = {"kernel": kernel, "case": case, "shared": result.metadata.shared, "seconds": seconds, "fused": fused}
        print(json.dumps({**record, **_resources(result)}))
    for record in _compiled_again(run):
        print(json.dumps(record))


def _compiled_again(run: Callable) -> list[dict[str, str]]:
    """What other numbers of rows would compile anew although none of its constants differs."""
    known: dict[str, set[str]] = {}
    again = []

    def only_look(kernel, key, signature, device, constants, options, attributes, warmup):
        variant = f"{_name(kernel)} {[value for value in signature.values() if value != 'constexpr']} {constants} {options}"
        seen = known.setdefault(variant, set())
        if seen and str(attributes) not in seen:
            again.append({"again": _name(kernel), "case": case})
        seen.add(str(attributes))

    JITFunction.run = lambda kernel, *arguments, grid, warmup, **constants: run(
        kernel, *arguments, grid=grid, warmup=True, **constants
    )
    JITFunction._do_compile = only_look
    for name in kernels():
        module, _, attribute = name.rpartition(".")
        getattr(sys.modules[module], attribute).device_caches.clear()
    for name, launch in LAUNCHES.items():
        known.clear()
        for rows in (ROWS, 1, 16, 17, 32, 3001, 3008):
            case = f"{name}, {rows} rows"
            launch.call(rows, launch.dtypes[0])
    return again


def _name(kernel: JITFunction) -> str:
    return f"{kernel.__module__}.{kernel.__name__}"


def _resources(result: triton.compiler.CompiledKernel) -> dict[str, int]:
    """Bytes of stack, and registers, of a thread, as the cubin has them."""
    tool = Path(triton.__path__[0]) / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(result.asm["cubin"])
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found, text
    return {"registers": int(found[1]), "stack": int(found[2])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]))
