"""Progress of functions: in place in a notebook, else a line every 30 s."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import nvmc.evaluation.sweep as sweeping
from nvmc.models import zoo_path
from nvmc.progress import Progress


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress("chips", 4, clock)
    for clock.now in (10.0, 31.0, 40.0, 70.0):
        progress.one(7, 0.5)
    assert capsys.readouterr().err.splitlines() == [
        "nvmc: chips: 2 of 4 after 31 s",
        "nvmc: chips: 4 of 4 after 70 s",
    ]


def test_in_place_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Any:
        seen.append(data["text/plain"])
        return SimpleNamespace(update=lambda data, raw: seen.append(data["text/plain"]))

    shell = type("ZMQInteractiveShell", (), {})()
    kernel = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    clock = Clock()
    progress = Progress("chips", 3, clock)
    for clock.now in (0.1, 1.0, 1.1):
        progress.one()
    assert seen == ["nvmc: chips: 2 of 3 after 1 s", "nvmc: chips: 3 of 3 after 1 s"]
    assert capsys.readouterr() == ("", "")


def test_functions_tell_it_unless_they_are_told_where(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nvmc

    made: list[Any] = []

    def noting(label: str, total: float) -> Progress:
        made.append((label, total))
        return Progress(label, total)

    monkeypatch.setattr(sweeping, "Progress", noting)
    target = nvmc.make_target("rram4")
    network = nvmc.compile(zoo_path("mlp3-digits"), target, output=tmp_path / "m.nvmc")
    values, given = {"sigma": [0.1, 0.2]}, {"runs": 2, "data": "digits", "limit": 5}
    nvmc.sweep(network, values, **given)
    nvmc.sweep(network, values, on_chip=lambda chip, value: None, **given)
    assert made == [("chips", 4)]
