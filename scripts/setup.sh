#!/usr/bin/env bash
# Make .venv with everything that training, the quickstart and the tests need. Safe to run again; quick when done.
#
#   bash scripts/setup.sh            PYTHON=python3.12 bash scripts/setup.sh            FFCV=0 bash scripts/setup.sh
#
# FFCV=0 leaves ffcv out, and with it the compiler; everything but --engine ffcv and the comparisons with it works.
# ffcv is compiled here. Its build asks pkg-config for the whole of OpenCV but uses only core and imgproc, so it is
# shown a description of just these two, and the compiler a header that includes just these two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
FFCV=${FFCV:-1}
PACKAGES=(python3-venv libturbojpeg0 libgl1 libglib2.0-0)
[ "$FFCV" = 0 ] || PACKAGES+=(g++ pkg-config libopencv-core-dev libopencv-imgproc-dev libturbojpeg0-dev)
STAMP=.venv/.ready
SHIM=$PWD/.venv/ffcv-build

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

wanted() {
    cat requirements.txt setup.py scripts/setup.sh | sha256sum | cut -d' ' -f1
    "$PYTHON" -c 'import sys; print(sys.version)'
    echo "FFCV=$FFCV"
}

check_python() {
    command -v "$PYTHON" >/dev/null || fail "no $PYTHON here; install Python 3.11 or newer, or set PYTHON=..."
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON is older than 3.11; set PYTHON=/path/to/a/newer/python3"
}

can_build_ffcv() {
    command -v g++ >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists libturbojpeg &&
        printf '#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n#include <turbojpeg.h>\n' |
        g++ -fsyntax-only -x c++ -I/usr/include/opencv4 $(pkg-config --cflags libturbojpeg) - 2>/dev/null
}

has_libraries() {
    ldconfig -p | grep -q 'libGL\.so\.1' && ldconfig -p | grep -q 'libturbojpeg\.so\.0'
}

install_system_packages() {
    { [ "$FFCV" = 0 ] || can_build_ffcv; } && "$PYTHON" -c 'import ensurepip' 2>/dev/null && has_libraries && return
    local line="apt-get update && apt-get install -y --no-install-recommends ${PACKAGES[*]}"
    command -v apt-get >/dev/null ||
        fail "ffcv needs a C++ compiler, pkg-config, and the headers of OpenCV (core, imgproc) and libturbojpeg;" \
            "the writers need libturbojpeg. On Debian or Ubuntu: $line" "Without ffcv: FFCV=0 bash scripts/setup.sh"
    [ "$(id -u)" = 0 ] || fail "Debian packages are missing. Run this line, then this script again:" "sudo sh -c '$line'" \
        "FFCV=0 bash scripts/setup.sh needs fewer of them: no compiler."
    echo "setup: installing Debian packages"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null
}

describe_opencv() {
    mkdir -p "$SHIM/opencv2"
    printf '#pragma once\n#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n' >"$SHIM/opencv2/opencv.hpp"
    printf '%s\n' 'Name: opencv4' 'Description: the two modules ffcv uses' 'Version: 4' \
        'Libs: -lopencv_imgproc -lopencv_core' "Cflags: -I$SHIM -I/usr/include/opencv4" >"$SHIM/opencv4.pc"
}

pinned() {
    if [ "$FFCV" = 0 ]; then grep -v '^ffcv==' requirements.txt; else cat requirements.txt; fi
}

check_python
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(wanted)" ]; then
    exit 0
fi
install_system_packages
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
describe_opencv
echo "setup: installing Python packages into .venv (the first time downloads about 3 GB)"
PKG_CONFIG_PATH="$SHIM${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}" \
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r <(pinned)
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
modules='cv2, numba, simplejpeg, torch, torchvision'
[ "$FFCV" = 0 ] || modules+=', ffcv._libffcv'
.venv/bin/python -c "import $modules" 2>&1 | tail -n 1
wanted >"$STAMP"
echo "setup: ready"
