"""The downstream tasks: layouts on disk, targets, metrics. Nothing here knows a loader or a network.

``frl.tasks.registry`` has them all. This package imports none: who reads a layout alone needs no torch.
"""
