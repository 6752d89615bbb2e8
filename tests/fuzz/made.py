"""Compiled networks and the like, which inputs are run on: made by the command line itself."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from fuzz.networks import save_networks
from nvmc.cli import main

__all__ = ["compile_networks", "succeed"]


def succeed(*words: str) -> None:
    """Run a command quietly; it has to go well."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(words)
    assert code == 0, f"nvmc {' '.join(words)}: {said.getvalue()}"


def compile_networks(folder: Path, *names: str, device: str = "rram4") -> None:
    """Write NAME.onnx and NAME.nvmc, and run two chips of each, so that all is loaded."""
    save_networks(folder, *names)
    for name in names:
        out = str(folder / f"{name}.nvmc")
        succeed("compile", str(folder / f"{name}.onnx"), "--device", device, "-o", out)
        for fidelity in ("cells", "circuit"):
            succeed("simulate", out, "--runs", "2", "--no-store", "--fidelity", fidelity)
