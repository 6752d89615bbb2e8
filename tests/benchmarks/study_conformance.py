"""Networks of every usual kind: compiled, compared, simulated and trained one step; a table.

    python tests/benchmarks/study_conformance.py CACHE [NAME...] [--list] [--again PHASE] [--docs]

Results are kept in CACHE/results, a JSON file a network, so that a run that was interrupted goes
on where it was; `--again` repeats a phase and those behind it. Files are removed once a network is
done. torchvision, timm, transformers and skl2onnx are needed for the rows of theirs only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import traceback
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from conformance.phases import PHASES
from conformance.table import findings_list, kind_table
from figures import figures, lacking, parser, source

from nvmc.errors import NvmcError

KEYS = {
    "torchvision": "torchvision",
    "timm": "timm",
    "plain torch": "plain-torch",
    "transformers": "transformers",
    "changed files": "changed-files",
    "scikit-learn": "scikit-learn",
    "onnx's own": "onnx",
}
"""Kind of networks -> key of its table."""
SETS = ("nets", "vision", "text", "files")
PACKAGES = {"torchvision", "timm", "transformers"}
"""Kinds that are called by the package of theirs."""
MODULES = (
    "nvmc.training",
    "nvmc.compiler",
    "nvmc.evaluation.simulation",
    "nvmc.runtime.sessions",
    "onnxruntime",
    "onnxscript",
    "torch._dynamo",
    "torch.optim",
)
ORDER = list(PHASES)
NEEDS: dict[str, tuple[str, ...]] = {
    "write": (),
    "compile": ("write",),
    "compare": ("write", "compile"),
    "simulate": ("write", "compile"),
    "train": ("write",),
}
"""Phase -> those that must have worked."""
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
        found = {"refused": str(error).replace(f"{folder}/", "")}
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


@cache
def warm_up(kinds: frozenset[str]) -> None:
    """Import what networks of these kinds need; numbers are computed in their processes only."""
    for name in (*MODULES, *(kinds & PACKAGES)):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def study(cache: Path, case: Any, kinds: frozenset[str], again: str | None) -> None:
    """All phases of a network, but those whose results are kept; each is kept as it ends."""
    files, kept = cache / "files" / _file(case.name), cache / "results" / f"{_file(case.name)}.json"
    found = result_of(cache, case)
    if again is not None:
        found = {key: found[key] for key in found if key not in ORDER[ORDER.index(again) :]}
    todo = {phase for phase in ORDER if phase not in found and _may_run(found, phase)}
    if todo and not (files / "source.npz").exists():
        todo.add("write")
    if "simulate" in todo and not (files / "m.nvmc").exists():
        todo.add("compile")
    for folder in (files, kept.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for phase in (phase for phase in ORDER if phase in todo):
        if _may_run(found, phase):
            warm_up(kinds)
            found[phase] = run_phase(files, case.name, phase)
            found |= source()
            kept.write_text(json.dumps(found, indent=1))
            print(f"{case.name}: {phase} {json.dumps(found[phase])[:300]}", flush=True)


def result_of(cache: Path, case: Any) -> dict[str, Any]:
    """What is known of a network."""
    kept = cache / "results" / f"{_file(case.name)}.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    return found | {"name": case.name, "kind": case.kind, "made": case.made}


def _file(name: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "_", name)


def _may_run(found: dict[str, Any], phase: str) -> bool:
    """Whether what it needs has worked, or is still to come."""
    failed = {"refused", "fault", "skipped"}
    return not any(failed & found.get(earlier, {}).keys() for earlier in NEEDS[phase])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("cache", type=Path)
    options.add_argument("names", nargs="*")
    options.add_argument("--list", action="store_true")
    options.add_argument("--keep", action="store_true", help="keep the files")
    options.add_argument("--again", choices=list(PHASES))
    options.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    asked = options.parse_args()
    known = cases()
    if asked.list:
        print("\n".join(known))
        return
    names = asked.names or list(known)
    kinds = frozenset(known[name].kind for name in names)
    for name in names if not asked.table else []:
        study(asked.cache, known[name], kinds, asked.again)
        if not asked.keep:
            shutil.rmtree(asked.cache / "files", ignore_errors=True)
    results = [result_of(asked.cache, known[name]) for name in names]
    show([result for result in results if "write" in result], list(known.values()))


def show(results: list[dict[str, Any]], known: list[Any]) -> None:
    """The tables of all kinds that were asked for, and what was refused or went wrong."""
    for kind, key in KEYS.items():
        own = [result for result in results if result["kind"] == kind]
        missing = lacking(sum(case.kind == kind for case in known), len(own))
        if own:
            figures(__file__, key, kind_table(own), missing=missing, made=own)
    missing = lacking(len(known), len(results))
    figures(__file__, "findings", findings_list(results), missing=missing, made=results)


if __name__ == "__main__":
    main()
