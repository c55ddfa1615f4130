"""What the machine can do at best: copy bandwidth and matrix rate, which give every workload its floor."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from geo3d.tools.benchmarks.timing import time_interleaved


@dataclass(frozen=True)
class Machine:
    """name; threads; bandwidth in bytes per second, read and written bytes counted; rate in float32 operations per second."""

    name: str
    threads: int
    bandwidth: float
    rate: float

    def floor(self, num_bytes: float, operations: float) -> float:
        """Seconds that moving so many bytes and doing so many operations takes at least."""
        return max(num_bytes / self.bandwidth, operations / self.rate)


def measure(device: torch.device) -> Machine:
    """Best of several runs, with the threads that torch has now."""
    side = 4096 if device.type == "cuda" else 1536
    source = torch.rand(64 * 2**20, device=device)
    target = torch.empty_like(source)
    a, b = torch.rand(2, side, side, device=device)
    timing = time_interleaved({"copy": lambda: target.copy_(source), "matrix": lambda: a @ b}, device, 4, 15)
    bandwidth = 2 * source.numel() * source.element_size() / min(timing.rounds["copy"])
    return Machine(_name(device), torch.get_num_threads(), bandwidth, 2 * side**3 / min(timing.rounds["matrix"]))


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
