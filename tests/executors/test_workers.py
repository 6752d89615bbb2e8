"""What --workers names, and what is said where it names nothing."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from nvmc.errors import ClusterError, OptionError
from nvmc.evaluation.population import Threads
from nvmc.executors import cluster as clusters
from nvmc.executors import parse_accelerator, parse_workers
from nvmc.runtime.montecarlo import default_jobs


@pytest.mark.parametrize(("text", "jobs"), [("threads:3", 3), ("threads", default_jobs())])
def test_threads(text: str, jobs: int) -> None:
    with parse_workers(text) as executor:
        assert executor == Threads(jobs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one of threads, processes, dask"),
        ("4", "one of threads, processes, dask"),
        ("spark:host", "one of threads, processes, dask"),
        ("threads:0", "a number of at least 1, such as threads:4"),
        ("threads:-1", "a number of at least 1"),
        ("processes:two", "a number of at least 1, such as processes:4"),
        ("dask", "dask:tcp://HOST:8786"),
        ("dask:", "dask:tcp://HOST:8786"),
    ],
)
def test_what_is_no_workers_is_refused(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        parse_workers(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["processes:2", "dask:tcp://localhost:8786"])
def test_dask_may_be_missing(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(OptionError, match=r"`pip install 'nvmc\[cluster\]'`"):
        parse_workers(text)


def test_torch_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nvmc.executors.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OptionError, match=r"no module 'torch'; `pip install 'nvmc\[train\]'`"):
        parse_accelerator("cuda")


def test_a_scheduler_file_may_be_missing_or_something_else(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    with pytest.raises(OptionError, match="does not exist"), parse_workers(f"dask:{file}"):
        pass
    file.write_text("{}")
    with pytest.raises(OptionError, match="is no scheduler file"), parse_workers(f"dask:{file}"):
        pass


@pytest.mark.parametrize("address", ["nowhere://there", "tcp://", "tcp://127.0.0.1:many"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises((OptionError, ClusterError)) as caught, parse_workers(f"dask:{address}"):
        pass
    assert repr(address) in str(caught.value)


def test_a_scheduler_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens on, and one where somebody takes the call and says nothing."""
    monkeypatch.setattr(clusters, "CONNECT_S", 2.0)
    for backlog in (None, 1):
        with socket.socket() as there:
            there.bind(("127.0.0.1", 0))
            if backlog:
                there.listen(backlog)
            address = f"tcp://127.0.0.1:{there.getsockname()[1]}"
            with pytest.raises(ClusterError, match="no dask scheduler .* within 2 s") as caught:
                with parse_workers(f"dask:{address}"):
                    pass
            assert address in str(caught.value)
