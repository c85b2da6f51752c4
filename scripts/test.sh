#!/usr/bin/env bash
# Lint, check types, run the tests: what CI runs. Arguments go to pytest:
#
#   bash scripts/test.sh                     bash scripts/test.sh tests/frl -k sinkhorn
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
exec .venv/bin/python -m pytest -n 2 "$@"  # two at a time: threads of one test wait for those of more
