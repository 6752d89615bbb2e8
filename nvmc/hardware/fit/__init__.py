"""From measured cells to a device file."""
