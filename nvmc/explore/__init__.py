"""Designs of a chip for one network: which reach a goal, and for the least energy, area or time."""
