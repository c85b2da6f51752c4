#!/usr/bin/env bash
# Pre-train on all GPUs of this machine, or on its CPU:
#
#   bash scripts/pretrain_ffcv.sh --data faces.beton --out runs/x
#   bash scripts/pretrain_ffcv.sh small-batch --data faces.beton --out runs/x --optim.epochs 200
#   GPUS=2 bash scripts/pretrain_ffcv.sh ...          on two of the GPUs
#
# The options are those of `frl pretrain`; the same command goes on where a stopped run left off.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
cd "$OLDPWD"

bash "$root/scripts/setup.sh"
export PYTHONSAFEPATH=1  # a folder named frl or pipelines, where this is called, lends Python no modules
count_gpus='import torch; print(torch.cuda.device_count())'
gpus=${GPUS:-$("$root/.venv/bin/python" -c "$count_gpus")}
threads=$((gpus > 1 ? 1 : $(nproc)))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}  # torchrun's defaults, which it warns of where they are not set
exec "$root/.venv/bin/python" -m torch.distributed.run --standalone \
    --nproc-per-node "$((gpus > 0 ? gpus : 1))" --module frl.cli pretrain "$@"
