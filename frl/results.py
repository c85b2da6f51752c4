"""How results of ``frl evaluate`` tell the network that was measured from its baselines."""

from __future__ import annotations

import re

_BASELINE = re.compile(r"(untrained|ImageNet) \([^()]*\)|raw pixels|HOG|constant")


def baseline_of(network: str) -> str | None:
    """The baseline that a row of a table or of ``--out FILE`` is of, without its architecture; None: of the network.

    The whole name counts, for a file of weights may be called ``HOG.pt``, and a run ``untrained-longer``.

    Args:
        network: what the row calls it.
    """
    found = _BASELINE.fullmatch(network)
    return None if found is None else found[1] or found[0]
