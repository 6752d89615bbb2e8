"""The compiled network: its files, its operators, and what its parts agree on."""
