"""``frl evaluate landmarks|face3d|pose|expression|affect|action-units|task``: what heads learn on a network."""
