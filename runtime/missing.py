"""What of nvmc's compiled code is not there, and what that means."""

from __future__ import annotations

from importlib import import_module

__all__ = ["COMPILED", "HOW", "missing", "slow_text"]

COMPILED = {
    "circuits": "nvmc.runtime.crossbar._native",
    "random numbers": "nvmc.rng._normals",
    "provider": "nvmc.runtime.provider._shim",
}
"""What is compiled, and its module. Without it Python and NumPy do the same, more slowly."""

HOW = (
    "install g++ and Python's headers (python3-dev), then `pip install --force-reinstall --no-deps "
    "--no-cache-dir nvmc`; docs/install.md"
)
"""How to get it where there is no wheel."""


def missing() -> dict[str, str]:
    """What is not compiled, or does not load, with what Python says of it."""
    found: dict[str, str] = {}
    for what, name in COMPILED.items():
        try:
            import_module(name)
        except ImportError as error:
            found[what] = str(error)
    return found


def slow_text() -> str:
    """One line for who is about to wait for it; empty where all is compiled."""
    lacking = missing()
    if not lacking:
        return ""
    return (
        f"nvmc is installed without its compiled code ({', '.join(lacking)}): the numbers are the "
        f"same, but circuits take many times longer; {HOW}"
    )
