"""The networks, and how they are prepared for a device."""
