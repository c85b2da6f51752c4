#!/usr/bin/env bash
# Pre-train on many machines under Slurm. Options of sbatch before the script, those of `frl pretrain` after it:
#
#   sbatch --nodes 4 --gpus-per-node 8 scripts/pretrain_slurm.sh --data /shared/faces.beton --out /shared/runs/x
#   sbatch --nodes 2 scripts/pretrain_slurm.sh vggface2 --data /shared/faces.beton --stage /local --out ...
#
# One torchrun per machine; they meet at the first machine of the job. Five minutes before its end, or when it is
# preempted, every process saves a checkpoint of the same step, and the job queues again and goes on from there.
# --out must lie where every machine sees it; run scripts/setup.sh once before.
#SBATCH --job-name=frl
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=frl-%j.log
#SBATCH --signal=B:USR1@300
set -uo pipefail

root=${FRL_ROOT:-${SLURM_SUBMIT_DIR:?start this script with sbatch}}
export PYTHONSAFEPATH=1  # a folder named frl or pipelines, where this is called, lends Python no modules
python=$root/.venv/bin/python
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
gpus=${SLURM_GPUS_ON_NODE:-1}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # torchrun's default for several processes, which it warns of
export PYTHONSAFEPATH=1 # what lies in the current folder stands in for no installed package

leaving=
leave() {
    leaving=1 woken=1
    echo "pretrain_slurm: asked to leave; saving"
    # To the processes of every step, not to srun, which would kill them. Slurm signals the whole tree below a task,
    # or torchrun alone, which passes it on; a rank takes two that come together for one.
    scancel --signal=TERM "$SLURM_JOB_ID"
}
trap leave USR1 TERM

# Since Slurm 22.05 srun does not take --cpus-per-task from the job, and may bind the task to one core.
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "$python" -m frl.runtime.launch \
    --nnodes "$SLURM_NNODES" --nproc-per-node "$gpus" --shutdown-timeout 600 \
    --rdzv-backend c10d --rdzv-endpoint "$head_node:$port" --rdzv-id "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
    --module frl.cli pretrain "$@" &
step=$!

woken=1
while [ -n "$woken" ]; do # a trapped signal ends `wait` early
    woken=
    wait "$step"
    status=$?
done
state() { # of this job, from a controller that may be too busy to answer at once
    local found
    for _ in 1 2 3 4 5; do
        found=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T) && [ -n "$found" ] && break
        sleep 2
    done
    echo "pretrain_slurm: the job is ${found:-unknown}" >&2
    echo "$found"
}

# 143: Slurm has signalled the processes itself, as it does on preemption. A job that is no longer running is being
# ended, perhaps by its user's scancel, and to queue it again would bring it back.
if { [ -n "$leaving" ] || [ "$status" = 143 ]; } && [ "$status" != 0 ] &&
    [ "$(state)" = RUNNING ]; then
    echo "pretrain_slurm: queueing again"
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
