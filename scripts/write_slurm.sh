#!/usr/bin/env bash
# Write a large data set as a SLURM job array, a shard a job, and join the shards when all are there:
#
#   bash scripts/write_slurm.sh 32 /data/vggface2.beton vggface2:/data/VGGFace2 --margin 0.3
#   SBATCH_PARTITION=cpu SBATCH_TIMELIMIT=4:00:00 CPUS=16 bash scripts/write_slurm.sh 32 ...
#
# The first two arguments are the number of shards and the file to write; the others go to `frl write`. The shards and
# the logs lie in OUT.shards/ until you delete them. A job that is preempted, killed or out of time goes on where it was
# when it is queued again, and so does this same command: shards that are there are kept. The file is the same as that
# of one machine: its content hash (frl info) says so.
set -euo pipefail
export PYTHONSAFEPATH=1  # a folder named frl or pipelines, where this is called, lends Python no modules
script=$(readlink -f "${BASH_SOURCE[0]}")
frl() { "$(dirname "$script")/../.venv/bin/python" -m frl.cli "$@"; }
quoted() { printf '%q ' bash "$script" "$@"; }

case "${1:-}" in
    shard)  # in the job array: shard TOTAL FOLDER, then what goes to frl write
        total=$2 folder=$3
        file=$(printf '%s/shard-%05d.beton' "$folder" "$SLURM_ARRAY_TASK_ID")
        if [ -e "$file" ] && frl verify "$file"; then exit 0; fi
        frl write "${@:4}" --out "$file" --shard "$SLURM_ARRAY_TASK_ID/$total" --overwrite \
            --workers "${SLURM_CPUS_PER_TASK:-0}"
        ;;
    merge)  # after the array: merge FOLDER OUT
        frl merge "$2"/shard-*.beton --out "$3"
        frl verify "$3" --deep
        ;;
    *)
        if [[ $# -lt 3 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
            echo "usage: bash scripts/write_slurm.sh SHARDS OUT.beton SOURCE... [options of frl write]" >&2
            exit 2
        fi
        for word in "${@:3}"; do
            case ${word%%=*} in --out | --shard | --workers)
                echo "write_slurm: $word: is given by OUT.beton, SHARDS or CPUS. Leave it out." >&2
                exit 2 ;;
            esac
        done
        total=$1 out=$(readlink -m "$2")
        folder=$out.shards
        if [ -e "$out" ]; then echo "$out: exists already. Give another name, or delete it." >&2; exit 1; fi
        mkdir -p "$folder"
        options=(--parsable --cpus-per-task "${CPUS:-8}")
        array=$(sbatch "${options[@]}" --job-name frl-write --requeue --open-mode append --array "1-$total" \
            --output "$folder/shard-%a.log" --wrap "$(quoted shard "$total" "$folder" "${@:3}")")
        merge=$(sbatch "${options[@]}" --job-name frl-merge --dependency "afterok:${array%%;*}" --open-mode append \
            --output "$folder/merge.log" --wrap "$(quoted merge "$folder" "$out")")
        echo "jobs ${array%%;*} (shards 1 to $total) and ${merge%%;*} (merge); logs and shards: $folder"
        ;;
esac
