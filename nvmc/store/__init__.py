"""What has been found so far: one SQLite file, one row per chip (docs/results.md).

`Store` opens the file, `Experiment` is one question's chips in it. Nothing that was added is lost
when the process is killed, and several processes may write at once.
"""

from nvmc.store.records import Experiment, Row
from nvmc.store.store import Entry, Merged, Store

__all__ = ["Entry", "Experiment", "Merged", "Row", "Store"]
