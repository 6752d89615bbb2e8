"""`nvmc doctor`: what this installation consists of, and whether it works."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import click
from rich.table import Table

import nvmc
from nvmc.budget import available, memory_text
from nvmc.cli.console import out, print_json
from nvmc.cli.plain import one_line
from nvmc.errors import NvmcError, ProviderError
from nvmc.runtime.missing import COMPILED, HOW
from nvmc.store.origin import identity_file, own_identity

__all__ = ["doctor_command"]

FORMAT = "nvmc.doctor/1"

SHOWN = ("onnxruntime", "onnx", "numpy", "torch")
"""Packages whose versions are shown: results depend on these."""

Facts = dict[str, Any]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(as_json: bool) -> None:
    """Show what is installed, and try whether it works.

    Exits with 1 if something that nvmc needs does not work. Please add the output to a bug report.
    """
    facts = _facts()
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if facts["problems"]:
        raise ProviderError("; ".join(facts["problems"]))


def _facts() -> Facts:
    """Everything that `--json` prints."""
    from nvmc.runtime.montecarlo import default_jobs

    provider, identity = _provider(), own_identity()
    base, extras = _requirements()
    problems = [
        f"nvmc needs {text}; `pip install --upgrade nvmc` brings what it needs"
        for text in map(_lacking, base)
        if text
    ]
    kernels = _kernels()
    if provider["trouble"] and kernels["compiled"]["provider"]["loads"]:
        problems.append(provider["trouble"])
    problems += [
        f"compiled {what} differ from NumPy's; build nvmc anew with `pip install .`"
        for what, found in kernels["compiled"].items()
        if found.get("right") is False
    ]
    return {
        "format": FORMAT,
        "works": not problems,
        "problems": problems,
        "nvmc": {"version": nvmc.__version__, "folder": str(Path(nvmc.__file__).parent)},
        "python": {"version": platform.python_version(), "system": platform.platform()},
        "packages": {name: _version(name) for name in SHOWN},
        "kernels": kernels,
        "provider": provider,
        "cores": {"usable": default_jobs(), "machine": os.cpu_count()},
        "memory_bytes": available(),
        "accelerator": _accelerator(),
        "extras": {name: [t for t in map(_lacking, of) if t] for name, of in extras.items()},
        "identity": {"file": str(identity_file()), "trouble": identity.trouble},
        "temporary_folder": tempfile.gettempdir(),
    }


def _kernels() -> Facts:
    """What computes circuits, the best first, and which compiled modules load."""
    from nvmc.runtime.crossbar.native import KERNELS

    return {
        "circuits": list(KERNELS),
        "compiled": {what: _compiled(name) for what, name in COMPILED.items()},
    }


def _compiled(name: str) -> Facts:
    """Whether a compiled module loads; of normals, whether they are NumPy's to the bit."""
    import numpy as np

    try:
        module: Any = import_module(name)
    except ImportError as error:
        return {"loads": False, "trouble": one_line(str(error))}
    if not hasattr(module, "standard_normal"):
        return {"loads": True}
    bits, found = np.random.Philox(7), np.empty(4099, np.float32)
    module.standard_normal(dict(bits.state), found)
    wanted = np.random.Generator(bits).standard_normal(found.shape, dtype=np.float32)
    return {"loads": True, "right": bool(np.array_equal(found, wanted))}


def _provider() -> Facts:
    """Whether onnxruntime takes the execution provider: it is registered."""
    name = "NvmcExecutionProvider"
    try:
        from nvmc.runtime.provider import PROVIDER_NAME, register_provider

        found = register_provider()
    except NvmcError as error:
        return {"name": name, "registers": False, "trouble": one_line(str(error))}
    except ImportError as error:
        trouble = f"onnxruntime cannot be loaded ({error}); `pip install onnxruntime` installs it"
        return {"name": name, "registers": False, "trouble": one_line(trouble)}
    trouble = None if found else "onnxruntime takes the provider but offers no device for it"
    return {"name": PROVIDER_NAME, "registers": bool(found), "trouble": trouble}


def _accelerator() -> Facts:
    """The CUDA device that `--accelerator cuda` takes, or why there is none."""
    from nvmc.executors import parse_accelerator

    try:
        return {"name": parse_accelerator("cuda").name, "trouble": None}
    except Exception as error:  # a torch that is broken raises anything
        return {"name": None, "trouble": one_line(str(error))}


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """What nvmc's own metadata ask for, always and for each extra; nothing where there are none."""
    try:
        texts = metadata.requires("nvmc") or []
    except metadata.PackageNotFoundError:  # run from a folder
        return [], {}
    base: list[str] = []
    extras: dict[str, list[str]] = {}
    for text in texts:
        wanted, _, marker = text.partition(";")
        extra = re.search(r"""extra == ["']([\w-]+)["']""", marker)
        (base if extra is None else extras.setdefault(extra[1], [])).append(wanted.strip())
    return base, {name: of for name, of in extras.items() if name not in ("all", "dev")}


def _lacking(wanted: str) -> str:
    """What a requirement such as `numpy>=2.1` lacks; empty where it is met."""
    name = re.split(r"[^\w.-]", wanted, maxsplit=1)[0]
    lowest = re.search(r">=\s*([\d.]+)", wanted)
    found = _version(name)
    if found is None:
        return f"{wanted}, which is not installed"
    old = lowest is not None and _numbers(found) < _numbers(lowest[1])
    return f"{wanted}, but {found} is installed" if old else ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """`2.14.0rc1` as (2, 14, 0)."""
    start = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, start[0].split("."))) if start else ()


def _print(facts: Facts) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in _rows(facts):
        table.add_row(*row)
    out().print(table)
    if facts["works"]:
        out().print("Everything that nvmc needs works.")


def _rows(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "nvmc", f"{facts['nvmc']['version']} in {facts['nvmc']['folder']}"
    yield "Python", f"{facts['python']['version']}, {facts['python']['system']}"
    for name, version in facts["packages"].items():
        yield name, version or "not installed"
    circuits = facts["kernels"]["circuits"]
    others = f" (also here: {_listed(circuits[1:])})" if circuits[1:] else ""
    yield "kernels", f"{circuits[0]}{others}"
    compiled = facts["kernels"]["compiled"]
    for what, found in compiled.items():
        yield "", f"{what}: {'compiled' if found['loads'] else 'NOT compiled: ' + found['trouble']}"
    if not all(found["loads"] for found in compiled.values()):
        yield "", f"without it the numbers are the same, and circuits take much longer; {HOW}"
    provider = facts["provider"]
    how = "registers" if provider["registers"] else "fails"
    how = how if compiled["provider"]["loads"] else "is not compiled"
    yield "provider", f"{provider['name']} {how}"
    yield "cores", f"{facts['cores']['usable']} of {facts['cores']['machine']}"
    memory = facts["memory_bytes"]
    yield "memory", "not known" if memory is None else f"{memory_text(memory)} available"
    accelerator = facts["accelerator"]
    yield "accelerator", accelerator["name"] or f"none: {accelerator['trouble']}"
    yield "extras", _listed(n for n, lacking in facts["extras"].items() if not lacking) or "none"
    for name, lacking in facts["extras"].items():
        if lacking:
            yield "", f"without {name} (`pip install 'nvmc[{name}]'`): needs {_listed(lacking)}"
    yield "identity", facts["identity"]["trouble"] or facts["identity"]["file"]
    yield "temporary", facts["temporary_folder"]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
