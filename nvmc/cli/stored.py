"""The store that a command keeps its results in."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nvmc.cli.console import count, note
from nvmc.compiled.artifact import RESULTS_FILE, Compiled
from nvmc.compiled.generations import is_compiled
from nvmc.errors import OptionError, StoreError
from nvmc.evaluation.records import Elsewhere, Records
from nvmc.interruption import interrupted
from nvmc.metrics import Total, find_metric
from nvmc.store import Entry, Expected, Found, Store

__all__ = ["StoreToBe", "checked_text", "expected_in", "opened_store", "opened_stores"]


class StoreToBe:
    """A store that is opened, and made where there is none, once there is something to keep.

    Args:
        path: The file.
        optional: Whether to go without, with a note, where it cannot be written.
        trusted: Whether what others wrote is used as it is.
    """

    def __init__(self, path: Path, optional: bool = False, trusted: bool = False) -> None:
        self.path = path
        self.store: Store | None = None
        self._optional = optional
        self._trusted = trusted

    def experiment(
        self, key: Mapping[str, Any], info: Mapping[str, Any], expected: Expected | None = None
    ) -> Records:
        """The records of one experiment; see `nvmc.evaluation.records.Archive`.

        Raises:
            StoreError: The file is no store, or cannot be written.
        """
        try:
            if self.store is None:
                self.store = Store.open(self.path, on_trouble=note, trusted=self._trusted)
            return self.store.experiment(key, info, expected)
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

    trusted = False

    def read(self) -> Found:
        return Found()

    def add(self, chip: int, images: int, total: Total, value: float | None) -> None:
        pass

    def confirm(self, chip: int, images: int, here: Total) -> None:
        pass

    def vouch(self, checked: Collection[int], others: Collection[int]) -> None:
        pass


def checked_text(found: Elsewhere) -> str:
    """How far chips that others found were checked."""
    if found.trusted:
        return f"{found.trusted:,} of them used unchecked (--trust-store)"
    if found.checked == found.chips:
        return "all run again here, with the same sums"
    return f"{found.checked:,} of them, at random, run again here: the same sums"


def expected_in(entry: Entry) -> Expected:
    """What the rows of an experiment in a store can be, as far as it says itself."""
    images, decisions = entry.key.get("images"), entry.info.get("decisions")
    metric = find_metric((str(entry.key.get("metric")).split() or [""])[0])  # behind it: a version
    if metric is None or images is None:
        return Expected()
    if not metric.counts or decisions is None:
        return Expected(images, metric.counts, metric.range)
    return Expected(
        images,
        metric.counts,
        metric.range,
        lambda first, last: (0.0, float(decisions * (last - first))),
        lambda total: total / max(1, decisions * images),
    )


@contextmanager
def opened_store(
    network: Compiled | None, store: Path | None, no_store: bool, trust_store: bool = False
) -> Generator[StoreToBe | None]:
    """Where the results of a network are kept, for as long as the block runs.

    Args:
        network: It has a store of its own, which is left out where it cannot be written; None
            where `store` is given in any case.
        store: `--store`: another file, or a compiled folder whose store it is.
        no_store: `--no-store`.
        trust_store: `--trust-store`: what others wrote is used as it is.

    Raises:
        OptionError: `--no-store` is given beside another of them.
        KeyboardInterrupt: Of Ctrl-C in the block, saying what is kept.
    """
    if store is not None and no_store:
        raise OptionError(f"store is {str(store)!r} beside --no-store; give one of the two")
    if no_store and trust_store:
        raise OptionError("--trust-store is given beside --no-store; give one of the two")
    if no_store:
        yield None
        return
    if store is not None and is_compiled(store):
        store = store / RESULTS_FILE
    path = store if store is not None or network is None else network.results_path
    if path is None:
        raise OptionError("there is no file to keep results in; give --store")
    kept = StoreToBe(path, optional=store is None, trusted=trust_store)
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


def opened_stores(
    stack: ExitStack, networks: list[Compiled], store: Path | None, without: bool, trusted: bool
) -> dict[str, StoreToBe]:
    """The store of each network's folder; one for all with `--store`, none with `--no-store`.

    Args:
        stack: Closes them, as `opened_store` does at the end of its block.
        networks: Their folders are the keys.
        store: `--store`; as in `opened_store`, as the others.
        without: `--no-store`.
        trusted: `--trust-store`.

    Raises:
        OptionError: The options contradict each other.
    """
    folders = {str(network.folder): network for network in networks}
    found: dict[str, StoreToBe] = {}
    for folder, network in folders.items():
        if store is not None and found:
            found[folder] = next(iter(found.values()))
        elif (kept := stack.enter_context(opened_store(network, store, without, trusted))) is None:
            return {}
        else:
            found[folder] = kept
    return found
