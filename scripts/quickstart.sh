#!/usr/bin/env bash
# The whole way in a few minutes on two cores: synthetic faces, .beton, pre-training, torchvision, report.
#
#   bash scripts/quickstart.sh [FOLDER]          FOLDER: runs/quickstart; a second run needs another one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
out=${1:-runs/quickstart}
if [ -e "$out" ]; then
    echo "quickstart: $out exists; remove it, or name another folder: bash scripts/quickstart.sh FOLDER" >&2
    exit 1
fi
began=$SECONDS

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*" && "$@"; }

say "1. Draw faces: people to learn from, and others to test on"
run frl synthesize "$out/faces" --identities 150 --images 16 --size 80 --style studio
run frl synthesize "$out/strangers" --identities 60 --images 12 --size 80 --style studio --seed 1

say "2. Write them as .beton files and verify every image"
run frl write "$out/faces" --out "$out/faces.beton"
run frl write "$out/strangers" --out "$out/strangers.beton"
run frl verify "$out/faces.beton" "$out/strangers.beton" --deep

say "3. Look at the crops that the network will see"
run frl preview "$out/faces.beton" --preset quickstart --out "$out/crops.png"

say "4. Pre-train a narrow resnet18, without labels"
run frl pretrain quickstart --data "$out/faces.beton" --out "$out/run"

say "5. Export, and load: torchvision's ResNet, with a quarter of the channels (docs/backbones.md)"
run frl export "$out/run" --out "$out/resnet18.pth"
python - "$out/resnet18.pth" <<'PYTHON'
import sys, torch, torchvision
from frl.export import load_backbone
network, name = load_backbone(sys.argv[1])
assert isinstance(network, torchvision.models.ResNet)
print(f"{name}: {sum(p.numel() for p in network.parameters()):,} weights, features {tuple(network(torch.zeros(1, 3, 32, 32)).shape)}")
PYTHON

say "6. Tell strangers apart: trained, untrained, raw pixels"
run frl report "$out/run" --weights "$out/resnet18.pth" --data "$out/strangers.beton" --size 32 --out "$out/report"
printf '\nDone in %d seconds. Look at %s\n' "$((SECONDS - began))" "$out/report/report.html"
