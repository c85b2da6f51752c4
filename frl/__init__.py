"""frl: pre-train face representations without labels.

Bulat et al., "Pre-training strategies and datasets for facial representation learning", ECCV 2022.
"""

__version__ = "0.1.0"
