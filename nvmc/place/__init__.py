"""Where the tiles of a compiled network lie on a chip, and when each works (docs/place.md)."""
