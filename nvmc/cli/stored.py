"""The store that a command keeps its results in."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvmc.cli.console import count, note
from nvmc.compiled.artifact import RESULTS_FILE, Compiled
from nvmc.compiled.generations import is_compiled
from nvmc.errors import OptionError, StoreError
from nvmc.evaluation.population import Records
from nvmc.interruption import interrupted
from nvmc.store import Store

__all__ = ["StoreToBe", "opened_store"]


class StoreToBe:
    """A store that is opened, and made where there is none, once there is something to keep.

    Args:
        path: The file.
        optional: Whether to go without, with a note, where it cannot be written.
    """

    def __init__(self, path: Path, optional: bool = False) -> None:
        self.path = path
        self.store: Store | None = None
        self._optional = optional

    def experiment(self, key: Mapping[str, Any], info: Mapping[str, Any]) -> Records:
        """The records of one experiment; see `nvmc.evaluation.population.Archive`.

        Raises:
            StoreError: The file is no store, or cannot be written.
        """
        try:
            if self.store is None:
                self.store = Store.open(self.path, on_trouble=note)
            return self.store.experiment(key, info)
        except StoreError as error:
            if not self._optional or os.access(self.path.parent, os.W_OK):
                raise
            note(f"results are not kept: {error}")
            return _Nowhere()

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


class _Nowhere:
    """Records that keep nothing."""

    def known(self) -> dict[int, tuple[int, float]]:
        return {}

    def parts(self) -> tuple[tuple[int, int, float], ...]:
        return ()

    def add(self, chip: int, images: int, total: float, value: float | None) -> None:
        pass


@contextmanager
def opened_store(
    network: Compiled, store: Path | None, no_store: bool
) -> Generator[StoreToBe | None]:
    """Where the results of a network are kept, for as long as the block runs.

    Args:
        network: It has a store of its own, which is left out where it cannot be written.
        store: `--store`: another file, or a compiled folder whose store it is.
        no_store: `--no-store`.

    Raises:
        OptionError: Both options are given.
        KeyboardInterrupt: Of Ctrl-C in the block, saying what is kept.
    """
    if store is not None and no_store:
        raise OptionError(f"store is {str(store)!r} beside --no-store; give one of the two")
    if no_store:
        yield None
        return
    if store is not None and is_compiled(store):
        store = store / RESULTS_FILE
    kept = StoreToBe(store or network.results_path, optional=store is None)
    try:
        yield kept
    except BaseException as error:
        if kept.store is None or not interrupted(error):
            raise
        raise KeyboardInterrupt(
            f"the chips that ended are kept in {str(kept.path)!r}; the same command goes on from "
            "there"
        ) from error
    finally:
        if kept.store is not None:
            kept.store.close()
