"""`schedule`: an instruction stream of meta-operators, with the tiles' codes beside it.

`format` is what the file may hold, and docs/export.md what each instruction does.
"""
