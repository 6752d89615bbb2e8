"""Mutated inputs of every kind that nvmc reads, run through the command line in a process each.

A kind is a file in `kinds/` and a row of `KINDS` there. Input number n of a kind is always the
same, so a fault is repeated by `python -m fuzz --kind KIND --only n` (docs/security.md).
"""
