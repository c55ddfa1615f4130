"""Runs tests under the instruction sets and numbers of threads that round differently: `python tests/processors.py [PYTEST ARGUMENTS]`.

Where a float decides (top-k, NMS, ties, thresholds) two processors may decide differently. Without arguments the tests run that compare across such
places. `make test-processors` calls this; PyTorch takes its instruction set from ATEN_CPU_CAPABILITY.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

CAPABILITIES = ("default", "avx2", None)  # None: the best that the processor has
THREADS = (1, 2)
TESTS = (
    *(
        f"tests/ops/test_{name}.py"
        for name in ("boxes", "neighbors", "sampling", "grouping", "scatter", "voxelize", "windows", "sparse_conv")
    ),
    *(
        "tests/parity",
        "tests/models/detection",
        "tests/metrics",
        "tests/zoo/test_packaged_detector.py",
        "tests/tools/test_benchmark_model.py",
    ),
)


def main() -> int:
    """Runs all combinations; returns 1 if one of them failed."""
    arguments = sys.argv[1:] or list(TESTS)
    failed = []
    for capability in CAPABILITIES:
        for threads in THREADS:
            name = f"ATEN_CPU_CAPABILITY {capability or 'unset'}, {threads} thread{'s' * (threads > 1)}"
            environment = {key: value for key, value in os.environ.items() if key != "ATEN_CPU_CAPABILITY"}
            environment |= {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
            environment |= {} if capability is None else {"ATEN_CPU_CAPABILITY": capability}
            start = time.monotonic()
            run = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
                env=environment,
                capture_output=True,
                text=True,
            )
            lines = run.stdout.strip().splitlines()
            print(f"{name}: {lines[-1] if lines else run.stderr[-300:]} ({time.monotonic() - start:.0f} s)", flush=True)
            if run.returncode:
                failed.append(name)
                print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
