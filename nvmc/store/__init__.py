"""What has been found so far: one SQLite file, one row per chip (docs/results.md).

`Store` opens the file, `Experiment` is one question's chips in it. Nothing that was added is lost
when the process is killed, and several processes may write at once.
"""

from nvmc.store.origin import Identity, Origin
from nvmc.store.plausible import Expected, Total
from nvmc.store.records import Experiment, Found, Row
from nvmc.store.store import Entry, Merged, Store

__all__ = [
    "Entry",
    "Expected",
    "Experiment",
    "Found",
    "Identity",
    "Merged",
    "Origin",
    "Row",
    "Store",
    "Total",
]
