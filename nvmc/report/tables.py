"""Tables, which lie lower in the house (`nvmc.tables`) so that data and networks have them too."""

from __future__ import annotations

from nvmc.tables import KINDS, Table, TableKind, render

__all__ = ["KINDS", "Table", "TableKind", "render"]
