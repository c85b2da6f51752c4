#!/usr/bin/env bash
# The tests on every Python that frl supports and this machine has, each in an environment of its own, without ffcv.
#
#   bash scripts/matrix.sh                                          bash scripts/matrix.sh tests/frl/beton -x
#   PYTHONS="3.12 /opt/python3.13/bin/python3" bash scripts/matrix.sh        LOWEST=1 PYTHONS=3.12 bash scripts/matrix.sh
#
# PYTHONS: versions, or paths to interpreters; 3.11 3.12 3.13 if not given. A version is looked for on the PATH, by uv and
# by pyenv; one that is not here is named at the end, and is an error only if it was asked for (status 3 if none is here).
# LOWEST=1: with the oldest torch and torchvision that setup.py admits, in place of those of requirements.txt.
# Environments stay in .venv/matrix-VERSION; uv (in requirements.txt) shares their files, so that the second costs little.
# Without arguments the tests are those that meet an interpreter's own differences: files, options, kernels, engines, the
# whole way from faces to an export. Arguments replace them and go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

asked=${PYTHONS:-}
tests=(tests/frl/test_bare_machine.py tests/frl/test_config.py tests/frl/test_cli.py tests/frl/test_export.py
    tests/frl/beton tests/writers/test_to_beton.py tests/pipelines/engines/test_threaded.py tests/test_imports.py)
[ "$#" = 0 ] || tests=("$@")
uv=$(command -v uv || true)
[ -x .venv/bin/uv ] && uv=$PWD/.venv/bin/uv

find_python() { # VERSION or path
    case $1 in */*) [ -x "$1" ] && echo "$1" && return ;; esac
    local found
    for found in "$(command -v "python$1" || true)" ~/.pyenv/versions/"$1"*/bin/python \
        "$([ -z "$uv" ] || "$uv" python find --no-python-downloads "$1" 2>/dev/null)"; do
        # A shim of pyenv is on the PATH for versions that are not switched on, too.
        [ -n "$found" ] && "$found" -c 'import sys' 2>/dev/null && echo "$found" && return
    done
    return 1
}

lowest() { sed -nE "s/^ *\"$1>=([0-9.]+)\",$/\1/p" setup.py; } # package

install() { # python, environment
    local needs
    needs=$(grep -Ev '^(#|ffcv==|nvidia-dali)' requirements.txt)
    if [ "${LOWEST:-0}" = 1 ]; then
        # It wants an older setuptools, too.
        needs=$(sed -E "s/^(torch)==.*/\1==$(lowest torch).*/; s/^(torchvision)==.*/\1==$(lowest torchvision).*/;
            s/^setuptools==.*/setuptools/" <<<"$needs")
    fi
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --allow-existing --no-python-downloads --python "$1" "$2"
        "$uv" pip install --quiet --python "$2/bin/python" -r <(echo "$needs")
    else
        [ -x "$2/bin/python" ] || "$1" -m venv "$2"
        "$2/bin/python" -m pip install --quiet --disable-pip-version-check -r <(echo "$needs")
    fi
}

passed=() missing=() failed=()
for version in ${asked:-3.11 3.12 3.13}; do
    if ! python=$(find_python "$version"); then
        missing+=("$version")
        continue
    fi
    name=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    environment=.venv/matrix-$name
    [ "${LOWEST:-0}" != 1 ] || environment+=-lowest
    echo "matrix: $("$python" --version) in $environment"
    install "$python" "$environment"
    if PYTHONPATH=$PWD "$environment/bin/python" -m pytest -q -p no:cacheprovider -n 2 "${tests[@]}"; then
        passed+=("$name")
    else
        failed+=("$name")
    fi
done
echo "matrix: passed on ${passed[*]:-none}; failed on ${failed[*]:-none}; not on this machine: ${missing[*]:-none}"
[ ${#failed[@]} = 0 ] || exit 1
[ ${#passed[@]} -gt 0 ] || exit 3
[ -z "$asked" ] || [ ${#missing[@]} = 0 ]
