"""Where chips are run: other machines and accelerators."""
