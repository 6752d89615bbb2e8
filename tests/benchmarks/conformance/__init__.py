"""The networks of the conformance table, and what is measured of each."""
