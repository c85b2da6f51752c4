#!/usr/bin/env bash
# What to run first on a new GPU: checks that need one, in order, until the first surprise. A few minutes.
#
#   bash scripts/gpu_first_minute.sh              PYTHON=/path/to/python bash scripts/gpu_first_minute.sh
#   bash scripts/gpu_first_minute.sh --device cpu      what makes sense without one, on small inputs
#
# Exit status 1: a surprise, which the last lines describe. scripts/bench_gpu.sh measures; this only asks whether it works.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" scripts/bench/first_minute.py "$@"
