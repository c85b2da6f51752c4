"""From faces as people store them to ``.beton`` files."""
