"""Kinds of ADC, a file each; `kinds.KINDS` is the table of them all."""
