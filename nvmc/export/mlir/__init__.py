"""`mlir`: the network as text of MLIR, with a dialect `cim` for tiles.

docs/export.md says what each operation of the dialect does.
"""
