"""What a network learns from a batch: losses, and what they need to remember."""
