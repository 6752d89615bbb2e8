"""What --accelerator names, and what is said where it names nothing."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from nvmc.errors import OptionError
from nvmc.executors.accelerator import parse_accelerator


@pytest.mark.torch
def test_it_is_an_executor() -> None:
    executor = parse_accelerator("cpu", 3)
    assert executor.name == "torch on cpu"
    assert executor.engine.startswith("torch ")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(OptionError, match="accelerator is 'gpu'; expected cuda or cuda:NUMBER"):
        parse_accelerator("gpu")


def test_torch_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, *_: Any) -> Any:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(OptionError, match=r"needs torch, which .*pip install nvmc\[train\]"):
        parse_accelerator("cuda")
