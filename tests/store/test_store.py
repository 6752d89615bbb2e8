"""The store in one process: what goes in comes out, nothing goes backwards, nothing is doubled."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import StoreError
from nvmc.store import Experiment, Row, Store

KEY = {"sigma": 0.1, "network": "3f2a", "sources": [{"type": "programming"}]}
INFO = {"network": "lenet5.nvmc"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.sqlite") as opened:
        yield opened


@pytest.fixture
def experiment(store: Store) -> Experiment:
    return store.experiment(KEY, INFO)


def bits(known: dict[int, tuple[int, float]]) -> dict[int, tuple[int, str]]:
    """Sums to the last bit; NaN equals NaN."""
    return {chip: (images, total.hex()) for chip, (images, total) in known.items()}


totals = st.floats().map(lambda x: x + 0.0)  # SQLite has one zero: -0.0 comes back as 0.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared") / "results.sqlite"


@given(
    st.dictionaries(
        st.integers(0, 999_999), st.tuples(st.integers(1, 2**40), totals), min_size=1, max_size=20
    )
)
def test_what_goes_in_comes_out_bit_for_bit(
    shared: Path, chips: dict[int, tuple[int, float]]
) -> None:
    with Store.open(shared) as store:
        key = {"example": len(store.experiments())}
        experiment = store.experiment(key, INFO)
        experiment.add_many(
            [(chip, images, total, None) for chip, (images, total) in chips.items()]
        )
        assert bits(experiment.known()) == bits(chips)
    with Store.open(shared) as store:
        assert bits(store.experiment(key, {}).known()) == bits(chips)


def test_nothing_is_left_beside_a_closed_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        store.experiment(KEY, INFO).add(0, 5, 2.5, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["results.sqlite"]


def test_an_experiment_is_its_key(store: Store) -> None:
    here = store.experiment(KEY, INFO)
    text = json.dumps(KEY, sort_keys=True, separators=(",", ":"))
    assert here.id == hashlib.sha256(text.encode()).hexdigest()
    assert store.experiment(dict(reversed(KEY.items())), {"network": "renamed"}) is here
    there = store.experiment({**KEY, "sigma": 0.2}, INFO)
    assert there.id != here.id
    here.add(0, 5, 2.5, 0.5)
    assert there.known() == {}
    first, second = store.experiments()
    assert (first.id, first.key, second.id) == (here.id, KEY, there.id)
    assert first.info["network"] == "lenet5.nvmc"


def test_entries_say_what_is_there(store: Store, experiment: Experiment) -> None:
    (entry,) = store.experiments()
    assert (entry.complete, entry.begun, entry.first, entry.last) == (0, 0, None, None)
    assert entry.written is None and entry.evaluations == 0
    experiment.add_many([(3, 10, 7.0, 0.7), (4, 5, 1.0, None), (90, 10, 8.0, 0.8)])
    (entry,) = store.experiments()
    assert (entry.complete, entry.begun, entry.first, entry.last) == (2, 1, 3, 90)
    assert entry.evaluations == 25
    now = datetime.now(UTC)
    for moment in (entry.written, datetime.fromisoformat(entry.info["created"])):
        assert moment is not None and now - timedelta(minutes=5) < moment <= now
    assert list(store.rows(experiment.id)) == [
        (3, 10, 7.0, 0.7),
        (4, 5, 1.0, None),
        (90, 10, 8.0, 0.8),
    ]


def test_a_chip_never_goes_backwards(store: Store, experiment: Experiment) -> None:
    experiment.add(0, 100, 60.0)
    experiment.add(0, 50, 31.0)
    assert experiment.known() == {0: (100, 60.0)}
    experiment.add(0, 200, 110.0)
    assert experiment.known() == {0: (200, 110.0)}
    experiment.add_many([(0, 300, 160.0, 0.5), (0, 250, 140.0, None)])
    assert list(store.rows(experiment.id)) == [(0, 300, 160.0, 0.5)]


def test_the_same_again_changes_nothing_but_a_missing_value(
    store: Store, experiment: Experiment
) -> None:
    experiment.add(0, 100, math.nan)
    experiment.add(0, 100, math.nan, -1.0)
    experiment.add(0, 100, math.nan)
    ((chip, images, total, value),) = store.rows(experiment.id)
    assert (chip, images, value) == (0, 100, -1.0) and math.isnan(total)


def test_two_sums_of_the_same_images_contradict(store: Store, experiment: Experiment) -> None:
    experiment.add_many([(7, 100, 60.0, None), (8, 100, 61.0, None)])
    rows: list[Row] = [(6, 100, 1.0, None), (8, 100, 60.9999, None)]
    with pytest.raises(StoreError) as caught:
        experiment.add_many(rows)
    for phrase in (
        experiment.id[:12],
        "61.0",
        "60.9999",
        "chip 8",
        "100 images",
        "--chip 8 --store /",
    ):
        assert phrase in str(caught.value)
    assert experiment.known() == {7: (100, 60.0), 8: (100, 61.0)}
    assert store.unsaved == 0
    experiment.add(9, 100, 1.0)
    assert 9 in experiment.known()


def test_a_value_does_not_bring_another_sum(store: Store, experiment: Experiment) -> None:
    experiment.add(0, 10, 3.0)
    with pytest.raises(StoreError, match="two answers"):
        experiment.add(0, 10, 4.0, 0.4)
    assert list(store.rows(experiment.id)) == [(0, 10, 3.0, None)]


def test_another_processor_may_round_another_way(experiment: Experiment) -> None:
    """Sums of squares are no whole numbers; what came first stays."""
    experiment.add(8, 100, 61.0)
    experiment.add(8, 100, math.nextafter(61.0, 62.0))
    assert experiment.known() == {8: (100, 61.0)}


def test_threads_share_a_store(experiment: Experiment) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda chip: experiment.add(chip, 5, chip / 7), range(400)))
    assert experiment.known() == {chip: (5, chip / 7) for chip in range(400)}


def test_what_comes_after_the_end_is_no_fault(tmp_path: Path) -> None:
    """Threads of a run that was interrupted may still be at their chips."""
    with Store.open(tmp_path / "results.sqlite") as store:
        experiment = store.experiment(KEY, INFO)
    experiment.add(0, 5, 1.0)
    store.close()
    assert store.unsaved == 1


def test_delete(tmp_path: Path, store: Store, experiment: Experiment) -> None:
    kept = store.experiment({"another": 1}, INFO)
    kept.add(0, 5, 1.0)
    experiment.add_many((chip, 5, chip / 7, None) for chip in range(20_000))
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA wal_checkpoint")
    connection.close()
    large = store.path.stat().st_size
    store.delete(experiment.id)
    assert [entry.id for entry in store.experiments()] == [kept.id]
    assert list(store.rows(experiment.id)) == [] and kept.known() == {0: (5, 1.0)}
    store.close()
    assert store.path.stat().st_size < large / 5
    assert [path.name for path in tmp_path.iterdir()] == ["results.sqlite"]


def test_an_experiment_deleted_under_a_run_is_entered_again(
    tmp_path: Path, store: Store, experiment: Experiment
) -> None:
    experiment.add(0, 5, 1.0)
    with Store.open(tmp_path / "results.sqlite") as other:
        other.delete(experiment.id)
        other.experiment({"another": 1}, INFO)
    experiment.add(1, 5, 2.0)
    assert experiment.known() == {1: (5, 2.0)}
    assert len(store.experiments()) == 2 and store.unsaved == 0


def test_sums_on_the_way_are_kept(store: Store, experiment: Experiment, tmp_path: Path) -> None:
    """Also by a merge; what a chip has come to is still one row."""
    experiment.add(3, 20, 15.0)
    experiment.add_many([(3, 50, 41.0, None), (4, 20, 17.0, None)])
    experiment.add(3, 100, 80.0, 0.8)
    assert experiment.parts() == [(3, 20, 15.0), (3, 50, 41.0), (4, 20, 17.0)]
    assert experiment.known() == {3: (100, 80.0), 4: (20, 17.0)}
    with Store.open(tmp_path / "other.sqlite") as other:
        other.merge([store.path])
        assert other.experiment(KEY, INFO).parts() == experiment.parts()
    store.delete(experiment.id)
    assert store.experiment(KEY, INFO).parts() == []
