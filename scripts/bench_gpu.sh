#!/usr/bin/env bash
# Test and measure on this machine's GPU in some minutes, most of them for compiling; leaves DEVICE.json and DEVICE.md in docs/results.
#
#   bash scripts/bench_gpu.sh                 PYTHON=/path/to/python bash scripts/bench_gpu.sh
#   bash scripts/bench_gpu.sh --device cpu --out /tmp/smoke      runs through the script itself, on small inputs
#
# It needs torch, torchvision, numba, OpenCV, tyro and pytest; ffcv and DALI are measured where they are installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" scripts/bench/gpu.py "$@"
