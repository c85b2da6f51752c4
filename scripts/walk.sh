#!/usr/bin/env bash
# A new user's first hour in a few minutes: a fresh clone, photographs of one's own with a csv of labels, a run that is
# interrupted twice and goes on, the export, what it is worth, a report, and a publication on a stand-in for a model hub.
#
#   bash scripts/walk.sh [FOLDER]          FOLDER: a temporary one, removed at the end; one that is named stays
#
# What is committed is walked. Packages come from this checkout's .venv (PYTHON=/path/to/python: another's), so nothing is
# downloaded. Each step is checked, and nothing depends on how fast the machine is.
set -euo pipefail
export PYTHONSAFEPATH=1 # a folder named like one of our packages lends it no modules
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || { echo "walk: no $python; run bash scripts/setup.sh, or set PYTHON=..." >&2; exit 1; }
if [ -n "${1:-}" ]; then
    [ ! -e "$1" ] || { echo "walk: $1 exists; name another folder" >&2; exit 1; }
    mkdir -p "$1" && folder=$(cd "$1" && pwd)
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi
began=$SECONDS

say() { printf '\n\033[1m%s\033[0m  (%d s)\n' "$*" "$((SECONDS - began))"; }
run() { printf '$ %s\n' "$*" && "$@"; }
fail() { printf 'walk: %s\n' "$*" >&2 && exit 1; }

say "1. A fresh clone, from another folder"
run git clone --quiet "$root" "$folder/frl-clone"
export PYTHONPATH="$folder/frl-clone" OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
mkdir "$folder/work" && cd "$folder/work"
frl() { "$python" -m frl.cli "$@"; }
[ "$("$python" -c 'import frl; print(frl.__file__)')" = "$folder/frl-clone/frl/__init__.py" ] || fail "not the clone"
run frl doctor

say "2. Photographs of one's own, and a csv of what is known of them"
run frl synthesize drawn --identities 24 --images 8 --size 80 --style studio
"$python" - <<'PYTHON'
import csv, json, pathlib, shutil

photos = pathlib.Path("photos")
photos.mkdir()
with open("photos/labels.csv", "w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["path", "identity", "yaw", "side"])
    for number, line in enumerate(open("drawn/truth.jsonl")):
        face = json.loads(line)
        name = f"IMG_{number:04d}.jpg"
        shutil.copy(pathlib.Path("drawn", face["path"]), photos / name)
        yaw = face["pose"]["yaw"]
        table.writerow([name, f"person {face['identity']}", f"{yaw:.3f}", "left" if yaw < 0 else "right"])
photos.joinpath("IMG_9999.jpg").write_bytes(b"<html>no photograph</html>")
with open("photos/labels.csv", "a") as stream:
    stream.write("IMG_9999.jpg,person 1,0,left\n")
PYTHON

say "3. Write, verify, look"
run frl write photos/labels.csv --targets yaw side --out faces.beton
run frl info faces.beton | tee info.txt
grep -q 192 info.txt && grep -q side info.txt || fail "192 faces with their labels were expected"
grep -q IMG_9999.jpg faces.beton.rejects.tsv || fail "what is no photograph was not rejected"
run frl verify faces.beton --deep
run frl split faces.beton --out-train train.beton --out-probe probe.beton --share 0.25
run frl preview train.beton --preset quickstart --out crops.png

say "4. Pre-train; Ctrl-C, then SIGTERM, each as soon as it has learnt a step more; then to the end"
# Far more epochs than anybody waits for: no machine is so fast that the run ends before its signal.
train=(pretrain quickstart --data train.beton --out run --device cpu --workers 1 --compile off --optim.batch-size 32
    --optim.epochs 100000 --log-every-steps 1 --checkpoint-every-steps 1000 --knn.data probe.beton --knn.size 32
    --knn.every-epochs 1000)
lines() { [ -e run/metrics.jsonl ] && wc -l <run/metrics.jsonl || echo 0; }
interrupted() { # SIGNAL STATUS: start the run, wait for one more line of its log, send the signal
    local before=$(lines) status=0 waited=0
    # In a process group of its own, as in a terminal: without job control the shell would make it deaf to Ctrl-C.
    set -m
    # And where this script was itself started in the background, what it starts would ignore Ctrl-C: env undoes that.
    env --default-signal=INT,QUIT "$python" -m frl.cli "${train[@]}" >"log.$1" 2>&1 &
    local pid=$!
    set +m
    while [ "$(lines)" -le "$before" ]; do
        kill -0 "$pid" 2>/dev/null || { cat "log.$1" >&2; fail "the run ended by itself"; }
        [ $((waited += 1)) -lt 2400 ] || { kill -KILL "$pid"; fail "no step in 240 s"; }
        sleep 0.1
    done
    kill "-$1" "$pid"
    for _ in {1..2400}; do kill -0 "$pid" 2>/dev/null && sleep 0.1 || break; done
    ! kill -KILL "$pid" 2>/dev/null || fail "it did not end within 240 s of SIG$1"
    wait "$pid" || status=$?
    tail -n 1 "log.$1"
    [ "$status" = "$2" ] || { cat "log.$1" >&2; fail "status $status after SIG$1, not $2"; }
    step=$(sed -n 's/.*after step \([0-9]*\); the same command goes on from there.*/\1/p' "log.$1")
    [ -n "$step" ] || { cat "log.$1" >&2; fail "it does not say how to go on"; }
}
printf '$ frl %s\n' "${train[*]}"
interrupted INT 130
first=$step
interrupted TERM 143
[ "$step" -gt "$first" ] || fail "the second run ended at step $step: it did not go on from step $first"
run frl "${train[@]}" --max-steps $((step + 20)) 2>&1 | tee log.end | tail -n 3
[ "$(tail -n 1 run/metrics.jsonl | "$python" -c 'import json, sys; print(json.loads(sys.stdin.read())["step"])')" = \
    $((step + 20)) ] || fail "it did not end at step $((step + 20))"

say "5. Export, and load without frl"
run frl export run --out backbone.pth
run frl export run --out backbone.onnx
"$python" -c 'import torch; print(len(torch.load("backbone.pth")), "tensors")'

say "6. What it is worth: beside the untrained network and raw pixels"
run frl evaluate knn --weights backbone.pth --data probe.beton --size 32 --out knn.json
"$python" -c 'import json; assert json.load(open("knn.json"))'

say "7. A page of the run"
run frl report run --weights backbone.pth --data probe.beton --size 32 | tee report.txt
figure=$("$python" -c 'import json; print(format(next(iter(json.load(open("knn.json")).values()))["accuracy"], ".1%"))')
grep -Eq "^  trained +$figure" report.txt || fail "the report's k-NN accuracy is not the evaluation's, $figure"
grep -q "Nearest neighbours" run/report/report.html || fail "the page shows no neighbours"

say "8. Publish on a stand-in for a model hub, and load from there"
if "$python" -m frl.cli --help | grep -q '^  push '; then
    PYTHONPATH="$PYTHONPATH:$folder/frl-clone/tests" "$python" -c '
import time
from hub_server import TOKEN, model_hub

with model_hub() as hub:
    print(hub.url, TOKEN, flush=True)
    time.sleep(3600)' >hub.txt &
    hub=$!
    trap 'kill $hub 2>/dev/null; [ -n "${1:-}" ] || rm -rf "$folder"' EXIT
    until [ -s hub.txt ]; do kill -0 $hub || fail "the stand-in did not start"; sleep 0.1; done
    read -r HF_ENDPOINT HF_TOKEN <hub.txt
    # The stand-in speaks the plain protocol, without the storage that the hub puts behind it.
    export HF_ENDPOINT HF_TOKEN HF_HOME="$folder/hub-cache" HF_HUB_DISABLE_XET=1
    run frl push run walker/faces --licence cc-by-nc-4.0 --results knn.json
    run frl evaluate knn --weights hub:walker/faces --data probe.beton --size 32 --out hub.json
    sed 's/hub:walker\/faces/backbone.pth/' hub.json | cmp - knn.json || fail "the network from the hub is another one"
else
    echo "left out: this checkout has no frl push"
fi

printf '\nwalk: done in %d seconds%s\n' "$((SECONDS - began))" "${1:+, everything is in $folder}"
