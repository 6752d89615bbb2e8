"""What tests of training share."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from nvmc.training import train
from nvmc.training.evaluation import judge_source


@pytest.fixture
def judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network before training is judged by the first run alone: for tests that compare runs.

    What is trained does not depend on it, and it takes a third of such a run.
    """
    found: list[Any] = []

    def once(*given: Any) -> Any:
        if not found:
            found.append(judge_source(*given))
        return found[0]

    monkeypatch.setattr(sys.modules[train.__module__], "judge_source", once)
