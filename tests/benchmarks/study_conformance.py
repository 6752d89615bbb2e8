"""Networks of every usual kind: compiled, compared, simulated and trained one step; a table.

    python tests/benchmarks/study_conformance.py CACHE [NAME...] [--list] [--again PHASE]
        [--table docs/conformance.md]

Results are kept in CACHE/results, a JSON file a network, so that a run that was interrupted goes
on where it was; `--again` repeats a phase and those behind it. Files are removed once a network is
done. torchvision, timm, transformers and skl2onnx are needed for the rows of theirs only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import shutil
import traceback
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from conformance.phases import PHASES
from conformance.table import table

from nvmc.errors import NvmcError

COMMAND = "python tests/benchmarks/study_conformance.py CACHE --table docs/conformance.md"
SETS = ("nets", "vision", "text", "files")
PACKAGES = {"torchvision", "timm", "transformers"}
"""Kinds that are called by the package of theirs."""
MODULES = ("nvmc.training", "nvmc.compiler", "nvmc.evaluation.simulation", "onnxscript")
LIMIT = 1200
"""Seconds after which a phase is given up."""


def cases() -> dict[str, Any]:
    """Every network by name."""
    sets = [importlib.import_module(f"conformance.{name}").CASES for name in SETS]
    return {case.name: case for some in sets for case in some}


def phase_in_child(folder: Path, name: str, phase: str) -> None:
    """One phase of one network; what is wrong is part of what it found."""
    log = (folder / f"{phase}.log").open("w")
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    try:
        if phase == "write":
            cases()[name].write(folder / "m.onnx")
        found = PHASES[phase](folder)
    except NvmcError as error:
        found = {"refused": str(error)}
    except ModuleNotFoundError as error:
        found = {"skipped": f"needs {error.name}"}
    except Exception as error:
        traceback.print_exc()
        found = {"fault": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}
    (folder / f"{phase}.json").write_text(json.dumps(found))


def run_phase(folder: Path, name: str, phase: str) -> dict[str, Any]:
    """A phase in a process of its own, which may die; what takes long to import it has already."""
    process = get_context("fork").Process(target=phase_in_child, args=(folder, name, phase))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        return {"fault": f"took more than {LIMIT} s"}
    found = folder / f"{phase}.json"
    if process.exitcode or not found.exists():
        return {"fault": f"the process ended with code {process.exitcode}"}
    return json.loads(found.read_text())


def warm_up(kinds: set[str]) -> None:
    """Import what networks of these kinds need; numbers are computed in their processes only."""
    for name in (*MODULES, *(kinds & PACKAGES)):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def study(cache: Path, case: Any, again: str | None) -> dict[str, Any]:
    """All phases of a network, but those that are known."""
    kept = cache / "results" / f"{re.sub('[^A-Za-z0-9]+', '_', case.name)}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    order = list(PHASES)
    if again is not None:
        found = {phase: found[phase] for phase in order[: order.index(again)] if phase in found}
    todo = [phase for phase in order if phase not in found]
    folder = cache / "files" / kept.stem
    if todo and (todo[0] == "write" or not (folder / "inputs.npz").exists()):
        todo = [phase for phase in order if phase == "write" or phase in todo]
    if "simulate" in todo and "compile" not in todo and not (folder / "m.nvmc").exists():
        todo.insert(1, "compile")
    folder.mkdir(parents=True, exist_ok=True)
    for phase in todo:
        if not all(_worked(found, earlier) for earlier in NEEDS[phase]):
            continue
        found[phase] = run_phase(folder, case.name, phase)
        print(f"{case.name}: {phase} {json.dumps(found[phase])[:300]}", flush=True)
    found |= {"name": case.name, "kind": case.kind, "made": case.made}
    kept.write_text(json.dumps(found, indent=1))
    return found


NEEDS: dict[str, tuple[str, ...]] = {
    "write": (),
    "compile": ("write",),
    "compare": ("write", "compile"),
    "simulate": ("write", "compile"),
    "train": ("write",),
}


def _worked(found: dict[str, Any], phase: str) -> bool:
    return not {"refused", "fault", "skipped"} & found[phase].keys()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    parser.add_argument("--again", choices=list(PHASES))
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    known = cases()
    if asked.list:
        print("\n".join(known))
        return
    results: list[dict[str, Any]] = []
    warm_up({known[name].kind for name in asked.names or known})
    for name in asked.names or known:
        results.append(study(asked.cache, known[name], asked.again))
        if not asked.keep:
            shutil.rmtree(asked.cache / "files", ignore_errors=True)
    if asked.table is not None:
        asked.table.write_text(table(results, COMMAND))


if __name__ == "__main__":
    main()
