"""From an encoded image to a sample."""
