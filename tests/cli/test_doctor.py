"""`nvmc doctor`: what it says of an installation that works, and of ones that do not."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from typing import Any

import numpy as np
import pytest

import nvmc
from nvmc.cli import doctor, main
from nvmc.errors import ProviderError
from nvmc.runtime import provider
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.store.origin import identity_file

Capture = pytest.CaptureFixture[str]


def _ailing(capsys: Capture) -> tuple[dict[str, Any], str]:
    """What `--json` prints, and the one line of an installation that does not work."""
    assert main(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    found = json.loads(captured.out)
    assert found["works"] is False and len(found["problems"]) >= 1
    return found, line


def test_it_says_what_is_here(capsys: Capture) -> None:
    assert main(["doctor", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == "" and found["works"] is True and found["problems"] == []
    assert found["nvmc"]["version"] == nvmc.__version__
    assert found["python"]["version"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__
    assert found["kernels"]["circuits"] == list(KERNELS)
    assert found["provider"]["registers"] is True
    assert found["identity"]["file"] == str(identity_file())
    assert set(found["extras"]) >= {"train", "report"} and "dev" not in found["extras"]


def test_its_table(capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"kernels      {KERNELS[0]}" in text and "Everything that nvmc needs works." in text
    assert "NvmcExecutionProvider registers" in text


def test_a_provider_that_does_not_register(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise ProviderError("onnxruntime is 1.20; upgrade\nonnxruntime")

    monkeypatch.setattr(provider, "register_provider", fails)
    found, line = _ailing(capsys)
    assert found["provider"]["registers"] is False
    assert line == "nvmc: error: onnxruntime is 1.20; upgrade onnxruntime"
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "NvmcExecutionProvider fails" in captured.out and "works." not in captured.out


def test_no_onnxruntime(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvmc.runtime.provider", None)
    _, line = _ailing(capsys)
    assert "onnxruntime cannot be loaded" in line and "pip install onnxruntime" in line


def test_packages_that_are_too_old_or_missing(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["numpy>=99.1", "nowhere-to-be-found>=1", 'optuna>=98; extra == "explore"']
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    found, line = _ailing(capsys)
    assert f"nvmc needs numpy>=99.1, but {np.__version__} is installed" in line
    assert "nowhere-to-be-found>=1, which is not installed" in line
    assert len(found["problems"]) == 2 and len(found["extras"]["explore"]) == 1


def test_code_that_is_not_compiled_is_no_fault(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy gives the same numbers, so that is only said, and how to get it."""
    monkeypatch.setitem(doctor.COMPILED, "random numbers", "nvmc.rng._nowhere")
    monkeypatch.setitem(doctor.COMPILED, "provider", "nvmc.runtime.provider._nowhere")
    monkeypatch.setattr(provider.registration, "_shim", None)
    assert main(["doctor"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "circuits: compiled random numbers: NOT compiled: No module named" in text
    assert "install g++" in text and "NvmcExecutionProvider is not compiled" in text


def test_kernels_that_are_wrong_are_one(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        @staticmethod
        def standard_normal(state: Any, out: Any) -> None:
            out[:] = 0

    monkeypatch.setitem(sys.modules, "nvmc.rng._nowhere", Wrong)
    monkeypatch.setitem(doctor.COMPILED, "random numbers", "nvmc.rng._nowhere")
    _, line = _ailing(capsys)
    assert "compiled random numbers differ from NumPy's" in line


@pytest.mark.parametrize(
    ("wanted", "lacks"),
    [
        ("numpy>=2.1", ""),
        (f"numpy>={np.__version__}", ""),
        ("numpy", ""),
        ("numpy[all]>=1000", "numpy[all]>=1000, but"),
        ("numpy~=2.0", ""),  # no lower bound of ours
    ],
)
def test_what_a_requirement_lacks(wanted: str, lacks: str) -> None:
    found = doctor._lacking(wanted)
    assert found.startswith(lacks) and bool(found) == bool(lacks)
