"""A compiled network as other tools read it: `nvmc export`. One file per kind, one table of kinds.

`nvmc.export.kinds.KINDS` names them; docs/export.md describes each format.
"""
