"""The noise sources, by what they act on; `noise.SOURCES` is the table of them all."""
