"""The store that a command keeps its results in."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvmc.bench import Records
from nvmc.cli.console import count, note
from nvmc.errors import StoreError
from nvmc.store import Store

__all__ = ["StoreToBe", "opened_store"]


class StoreToBe:
    """A store that is opened, and made where there is none, once there is something to keep.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: Store | None = None

    def experiment(self, key: Mapping[str, Any], info: Mapping[str, Any]) -> Records:
        """The records of one experiment; see `nvmc.bench.Archive`.

        Raises:
            StoreError: The file is no store, or cannot be written.
        """
        if self.store is None:
            self.store = Store.open(self.path, on_trouble=note)
        return self.store.experiment(key, info)

    def check(self) -> None:
        """Complain, once the answer is out, of chips that are in no store.

        Raises:
            StoreError: There are such.
        """
        if self.store is not None and self.store.unsaved:
            raise StoreError(
                f"{count(self.store.unsaved, 'chip')} could not be written to {str(self.path)!r} "
                f"({self.store.trouble}); free space and give the same command again"
            )


@contextmanager
def opened_store(path: Path) -> Generator[StoreToBe]:
    """The store in `path` for as long as the block runs."""
    kept = StoreToBe(path)
    try:
        yield kept
    finally:
        if kept.store is not None:
            kept.store.close()
