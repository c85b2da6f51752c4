"""The multi-crop as one graph on the training device."""
