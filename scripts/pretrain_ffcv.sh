#!/usr/bin/env bash
# Pre-train on all GPUs of this machine, or on its CPU:
#
#   bash scripts/pretrain_ffcv.sh --data faces.beton --out runs/x
#   bash scripts/pretrain_ffcv.sh small-batch --data faces.beton --out runs/x --optim.epochs 200
#   GPUS=2 bash scripts/pretrain_ffcv.sh ...          on two of the GPUs
#
# The options are those of `frl pretrain`; the same command goes on where a stopped run left off. Ctrl-C saves and stops
# (status 130), a second one ends at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
cd "$OLDPWD"

bash "$root/scripts/setup.sh"
export PYTHONSAFEPATH=1 # what lies in the current folder stands in for no installed package
count_gpus='import torch; print(torch.cuda.device_count())'
gpus=${GPUS:-$("$root/.venv/bin/python" -c "$count_gpus")}
threads=$((gpus > 1 ? 1 : $(nproc)))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}  # torchrun's defaults, which it warns of where they are not set
# --shutdown-timeout: the seconds in which processes may save and stop; torchrun's 30 end within a few slow steps
exec "$root/.venv/bin/python" -m frl.runtime.launch --standalone --shutdown-timeout 600 \
    --nproc-per-node "$((gpus > 0 ? gpus : 1))" --module frl.cli pretrain "$@"
