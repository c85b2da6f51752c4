"""Loaders side by side: ``python scripts/bench_loader.py --data faces.beton``; the same as ``frl bench loader``."""

import sys

from frl.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "loader", *sys.argv[1:]]))
