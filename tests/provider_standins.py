"""Kernels that stand in for an operator's own; a test puts its function in `current`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nvmc.compiled.operators import OPS

current: Callable[..., Any] | None = None


def stand_in(monkeypatch: pytest.MonkeyPatch, op: str, kernel: Callable[..., Any]) -> None:
    """Run `kernel` instead of the operator's own, in sessions made during the test."""
    monkeypatch.setattr(f"{__name__}.current", kernel)
    monkeypatch.setitem(OPS, op, replace(OPS[op], kernel=f"{__name__}:current"))
