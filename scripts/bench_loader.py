"""Loaders side by side: ``python scripts/bench_loader.py --data faces.beton``; the same as ``frl bench loader``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frl.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "loader", *sys.argv[1:]]))
