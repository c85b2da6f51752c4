"""``python -m frl.cli``: what torchrun starts."""

import sys

from frl.cli import main

sys.exit(main())
