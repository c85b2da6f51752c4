"""Who decodes, and makes the crops while loading."""
