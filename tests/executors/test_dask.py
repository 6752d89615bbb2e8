"""Chips on a real scheduler's workers: the numbers of `Threads`, each once, whatever dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from numpy.typing import NDArray

from nvmc import Chip, Target, compile_model, load_device
from nvmc.compiled.artifact import Compiled
from nvmc.errors import ClusterError, ModelError
from nvmc.evaluation.population import Executor, Population, Threads, Workload
from nvmc.evaluation.workload import set_up
from nvmc.executors import cluster as clusters
from nvmc.executors import dask as executors
from nvmc.executors import parse_workers
from nvmc.executors.cluster import Cluster
from nvmc.executors.dask import DaskExecutor
from nvmc.hardware.chips import Chips
from nvmc.hardware.devices import parse_noise
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.metrics.determination import Determination
from nvmc.models import resolve_model
from nvmc.runtime.montecarlo import CircuitNetwork, Span, outputs_of
from onnx_models import MAPPED
from onnx_text import proto_of
from small_cluster import Deadly, Faulty, Kept, Slow, kill, small_cluster
from source_tree import ROOT

TARGET = Target.of(load_device("fefet2"))
NVMC = [sys.executable, "-m", "nvmc"]


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """A worker may take its time to start on a machine that is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "CONNECT_S", 300.0)
        yield


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "m.nvmc"
    return compile_model(resolve_model("zoo:lenet5-digits"), TARGET, output=folder)


@pytest.fixture(scope="module")
def workload(compiled: Compiled) -> Workload:
    """Judged by the outputs' every bit rather than by decisions, most of which are right."""
    workload = set_up(compiled, TARGET, data="digits", limit=60)
    return replace(
        workload, metric=Determination(outputs_of(workload.network, workload.feed, Chip.ideal()))
    )


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """Two workers of a scheduler, one with two threads."""
    with small_cluster(tmp_path_factory.mktemp("cluster"), 1) as cluster:
        cluster.start_worker(threads=2)
        with parse_workers(f"dask:{cluster.file}") as executor:
            yield executor


def chips(runs: int) -> Chips:
    return Chips(Chip.of(TARGET, 0, 0, 0.2), 0, runs)


def test_cells_are_those_of_threads(workload: Workload, executor: Executor) -> None:
    """Any number of chips, any span, in whichever order: bit for bit, each chip reported once."""
    population = chips(45)
    for span in (Span(0, 60), Span(0, 13), Span(13, 47)):
        expected, found = np.empty(45), np.full(45, np.nan)
        Threads(2).totals(workload, population, span, expected.__setitem__)
        told: Counter[int] = Counter()

        def done(position: int, total: float, found: NDArray[np.float64] = found) -> None:
            told[position] += 1  # noqa: B023
            found[position] = total

        executor.totals(workload, population, span, done)
        assert told == Counter(range(45))
        assert len(set(expected)) == 45
        assert np.array_equal(found, expected)
    assert executor.engine == Threads().engine
    assert executor.name in ("dask, 1 worker", "dask, 2 workers")


def test_some_chips_of_a_population(workload: Workload, executor: Executor) -> None:
    """A run that knows some chips, and some of them in part, sends the rest only."""
    records = Kept()
    known = Population(workload, chips(20), Threads(1), records)
    known.advance([3, 4, 11], 60)
    known.advance([5, 12], 25)
    values = workload.run(chips(20), executor, records)
    assert np.array_equal(values, workload.run(chips(20), Threads(1)))
    assert records.added == 3 + 2 + 17


def test_circuits_with_read_noise(executor: Executor, tmp_path: Path) -> None:
    onnx.save(proto_of(next(iter(MAPPED.values()))[1]), tmp_path / "m.onnx")
    target = TARGET.on(None, [parse_noise("read:basis=level,sigma=0.2")])
    compiled = compile_model(tmp_path / "m.onnx", target, output=tmp_path / "m.nvmc")
    workload = set_up(compiled, target)
    assert isinstance(workload.network, CircuitNetwork)
    population = Chips(Chip.of(target, 1, 0), 7, 12)
    expected = workload.run(population, Threads(2))
    assert len(set(expected)) > 1
    assert np.array_equal(workload.run(population, executor), expected)


def test_chips_that_are_noisy_in_part(workload: Workload, executor: Executor) -> None:
    first, second = (Selection(frozenset({name})) for name in ("conv1.weight", "fc1.weight"))
    population = [AblatedChip.within(chip, only) for only in (first, second) for chip in chips(9)]
    expected = workload.run(population, Threads(2))
    assert not np.array_equal(expected[:9], expected[9:])
    assert np.array_equal(workload.run(population, executor), expected)


def test_what_a_worker_finds_wrong_is_said_as_here(workload: Workload, executor: Executor) -> None:
    assert not isinstance(workload.network, CircuitNetwork)
    network = replace(workload.network, output="no such output", stack=None)
    with pytest.raises(ModelError) as here:
        replace(workload, network=network).run(chips(2), Threads(1))
    with pytest.raises(ModelError) as there:
        replace(workload, network=network).run(chips(2), executor)
    assert str(there.value) == str(here.value)
    assert np.array_equal(workload.run(chips(3), executor), workload.run(chips(3), Threads(1)))


def test_a_fault_of_ours_stays_one(workload: Workload, executor: Executor) -> None:
    with pytest.raises(ZeroDivisionError, match="a fault"):
        replace(workload, metric=Faulty(workload.metric, 0)).run(chips(2), executor)


def test_an_interruption_takes_back_what_is_queued(workload: Workload, executor: Executor) -> None:
    """Whatever ends a run in its middle; the workers are free for the next one."""
    slow = replace(workload, metric=Slow(workload.metric, 0.02))

    def done(position: int, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.totals(slow, chips(5000), Span(0, 60), done)
    assert np.array_equal(workload.run(chips(3), executor), workload.run(chips(3), Threads(1)))


@pytest.mark.slow
def test_workers_die_and_others_come(workload: Workload, tmp_path: Path) -> None:
    """One is killed at the first result and one comes; later the other that was there goes."""
    slow, records, population = (
        replace(workload, metric=Slow(workload.metric, 0.01)),
        Kept(),
        chips(96),
    )
    with small_cluster(tmp_path, 2) as cluster, parse_workers(f"dask:{cluster.file}") as executor:
        assert isinstance(executor, DaskExecutor)
        while executor.cluster.threads() < 2:
            pass
        events = {1: lambda: kill(cluster.processes[1]), 40: lambda: kill(cluster.processes[2])}

        def on_chip(position: int, value: float) -> None:
            if records.added in events:
                cluster.start_worker()
                events.pop(records.added)()

        values = slow.run(population, executor, records, on_chip)
        assert not events
    assert np.array_equal(values, workload.run(population, Threads(2)))
    assert records.added == len(records) == 96


@pytest.mark.slow
def test_the_scheduler_dies(workload: Workload, tmp_path: Path) -> None:
    """One line says so, and what was done is kept."""
    slow, records = replace(workload, metric=Slow(workload.metric, 0.01)), Kept()
    with small_cluster(tmp_path, 2) as cluster, parse_workers(f"dask:{cluster.file}") as executor:

        def on_chip(position: int, value: float) -> None:
            if records.added == 10:
                kill(cluster.scheduler)

        with pytest.raises(ClusterError, match="scheduler was lost; chips that were done are kept"):
            slow.run(chips(5000), executor, records, on_chip)
    assert 10 <= len(records) < 5000
    plain = Population(workload, chips(max(records) + 1), Threads(2))
    plain.advance(sorted(records), 60)
    assert dict(records) == {chip: (60, plain.totals[chip]) for chip in records}


ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nvmc":
            raise ModuleNotFoundError("No module named 'nvmc'", name="nvmc")

sys.meta_path.insert(0, Absent())
"""


def test_a_worker_without_nvmc_is_refused(workload: Workload, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ABSENT)  # it may be installed where tests run
    with small_cluster(tmp_path, 0) as cluster:
        cluster.start_worker(path=str(tmp_path))
        with pytest.raises(ClusterError, match="cannot run nvmc .*No module named 'nvmc'"):
            with parse_workers(f"dask:{cluster.file}"):
                pass


@pytest.mark.slow
def test_a_chip_that_ends_every_worker_is_given_up(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of this machine come back when they die, unless they die while they start."""
    monkeypatch.setattr(executors, "ATTEMPTS", 1)
    deadly = replace(workload, metric=Deadly(workload.metric, 0))
    with parse_workers("processes:2") as executor:
        with pytest.raises(ClusterError, match="died again and again while|has had no workers"):
            deadly.run(chips(30), executor)


def kept(store: Path) -> int:
    """How many chips a store holds; none where there is no table yet."""
    with closing(sqlite3.connect(store)) as connection, suppress(sqlite3.OperationalError):
        return connection.execute("SELECT count(*) FROM chip").fetchone()[0]
    return 0


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.slow
def test_ctrl_c_ends_the_processes_too(compiled: Compiled, tmp_path: Path) -> None:
    """A terminal sends it to all of them; one line is said, and what was done is kept."""
    store = tmp_path / "store.sqlite"
    options = ["--data", "digits", "--runs", "100000", "--workers", "processes:2"]
    process = subprocess.Popen(
        [*NVMC, "simulate", str(compiled.folder), *options, "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )

    while not store.exists() or not kept(store):
        assert process.poll() is None
        time.sleep(0.2)
    others = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err == (
        f"nvmc: error: interrupted; the chips that ended are kept in {str(store)!r}; the same "
        "command goes on from there\n"
    )
    assert len(others) >= 2
    while any(map(alive, others)):
        time.sleep(0.1)
    assert kept(store)


@pytest.mark.slow
def test_processes_of_this_machine(workload: Workload) -> None:
    expected = workload.run(chips(45), Threads(2))
    with parse_workers("processes:2") as executor:
        assert executor.name == "dask, 2 processes"
        assert np.array_equal(workload.run(chips(45), executor), expected)


def test_no_worker_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT_S", 3.0)
    with small_cluster(tmp_path, 0) as cluster:
        with pytest.raises(ClusterError, match="no workers for 3 s; start some with `dask worker"):
            with parse_workers(f"dask:{cluster.file}"):
                pass


@pytest.mark.slow
def test_all_workers_are_gone_for_too_long(workload: Workload, tmp_path: Path) -> None:
    slow, records = replace(workload, metric=Slow(workload.metric, 0.01)), Kept()
    with small_cluster(tmp_path, 1) as cluster, parse_workers(f"dask:{cluster.file}") as executor:
        assert isinstance(executor, DaskExecutor)
        impatient = DaskExecutor(Cluster(executor.cluster.client, patience_s=2))

        def on_chip(position: int, value: float) -> None:
            if len(records) == 1:
                time.sleep(1)  # more results wait at the worker that dies
                kill(cluster.processes[1])

        with pytest.raises(ClusterError, match="had no workers for 2 s"):
            slow.run(chips(500), impatient, records, on_chip)
    assert records
