"""What tests of commands share: forks of a process that has loaded them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from writing_commands import Forks, prepare


@pytest.fixture(scope="module")
def forks() -> Generator[Forks]:
    """Starts commands."""
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    """A folder with what commands read."""
    folder = tmp_path_factory.mktemp("template")
    prepare(folder, forks)
    return folder
