#!/usr/bin/env bash
# gpu_check.sh [FOLDER] [PYTHON]: on a machine with one GPU, in less than nine minutes and without a network:
# the tests of the kernels on the GPU, then times beside torch and the peers that are there, as JSON and a table in FOLDER (gpu_check).
# Needs torch for CUDA, numba, pytest and geo3d importable (pip install -e . --no-deps); Open3D is not needed.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-gpu_check}") python=${2:-python}
mkdir -p "$folder"
if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
  echo "gpu_check: torch finds no CUDA device ($python)" >&2
  exit 2
fi
"$python" -c "
import platform, torch, triton
print(torch.cuda.get_device_name(), *torch.cuda.get_device_capability(), 'torch', torch.__version__, 'triton', triton.__version__, 'python', platform.python_version())
" | tee "$folder/machine.txt"
status=0
# equality first: results on the GPU against the CPU, then every launcher against the definition
TRITON_INTERPRET=0 timeout 120 "$python" -m pytest tests/ops -m gpu -q 2>&1 | tee "$folder/gpu_tests.txt" | tail -25 || status=1
TRITON_INTERPRET=0 timeout 150 "$python" -m pytest tests/ops -k "triton or kernel or hash_table or order_of_programs" --deselect tests/ops/test_kernels.py -q 2>&1 |
  tee "$folder/kernel_tests.txt" | tail -25 || status=1
timeout 240 "$python" -m geo3d.tools.benchmark ops --device cuda --threads 1 --seconds 0.5 --rounds 15 \
  --json "$folder/ops.json" --markdown "$folder/ops.md" 2>&1 | tee "$folder/benchmark.txt" | tail -70 || status=1
echo "gpu_check: done in $SECONDS s, $([ $status = 0 ] && echo 'all as it should be' || echo 'NOT all as it should be'); see $folder"
exit $status
