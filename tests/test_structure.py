"""The house rules: who may import whom, what is public, what a bare import costs."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator

import pytest

from source_tree import PACKAGE, ROOT, Source, project_files, sources

FLOORS = {
    "nvmc.__main__": 11,
    "nvmc.cli": 10,
    "nvmc.export": 9,
    "nvmc.page": 9,
    "nvmc.reproduce": 9,
    "nvmc.executors": 8,
    "nvmc.explore": 8,
    "nvmc.place": 8,
    "nvmc.training": 8,
    "nvmc.cost": 7,
    "nvmc.evaluation": 7,
    "nvmc.compiler": 6,
    "nvmc.models": 5,
    "nvmc.runtime": 5,
    "nvmc.torchgraph": 5,
    "nvmc.metrics": 4,
    "nvmc.passes": 4,
    "nvmc.report": 4,
    "nvmc.compiled": 3,
    "nvmc.data": 2,
    "nvmc.hardware": 2,
    "nvmc.statistics": 2,
    "nvmc.store": 2,
    "nvmc.arguments": 1,
    "nvmc.budget": 1,
    "nvmc.errors": 0,
    "nvmc.interruption": 1,
    "nvmc.progress": 1,
    "nvmc.rng": 1,
    "nvmc.tables": 1,
}

# Where each of these libraries may be imported, be it inside a function.
HOMES = {
    "PIL": {"nvmc.data"},
    "click": {"nvmc.cli"},
    "distributed": {"nvmc.executors"},
    "matplotlib": {"nvmc.report"},
    "onnx": {"nvmc.passes"},
    "onnx_ir": {"nvmc.passes", "nvmc.torchgraph", "nvmc.training"},
    "onnxruntime": {"nvmc.runtime"},
    "optuna": {"nvmc.explore"},
    "pyarrow": {"nvmc.store"},
    "rich": {"nvmc.cli"},
    "safetensors": {"nvmc.training"},
    "sklearn": {"nvmc.data"},
    "skopt": {"nvmc.training"},
    "sqlite3": {"nvmc.store"},
    "torch": {"nvmc.executors", "nvmc.models", "nvmc.torchgraph", "nvmc.training"},
    "vl_convert": {"nvmc.page"},
}

# Import names of distributions whose two names differ.
DISTRIBUTIONS = {
    "array_api_compat": "array-api-compat",
    "PIL": "pillow",
    "google": "protobuf",
    "onnx_ir": "onnx-ir",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "vl_convert": "vl-convert-python",
}

# What importing a part may not load.
ISOLATED = {
    "nvmc.__main__": {"click", "numpy", "onnx", "onnxruntime", "pydantic", "rich", "torch"},
    "nvmc": {"click", "numpy", "onnx", "onnx_ir", "onnxruntime", "pydantic", "sklearn", "torch"},
    "nvmc.cli": {"matplotlib", "onnx", "onnxruntime", "scipy", "sklearn", "torch"},
    "nvmc.cost.estimate": {"click", "matplotlib", "onnxruntime", "sklearn", "torch"},
    "nvmc.hardware.devices": {"click", "onnx", "onnxruntime", "sklearn", "torch"},
    "nvmc.passes": {"click", "onnxruntime", "sklearn", "torch"},
    "nvmc.runtime.crossbar": {"click", "onnx", "onnxruntime", "sklearn", "torch"},
}

SOURCES = sources()
MODULES = {source.name for source in SOURCES}


def room(module: str) -> str:
    """The row of FLOORS that `module` belongs to; `nvmc` is the entrance, above all floors."""
    return ".".join(module.split(".")[:2])


def offenders(fault: Callable[[Source], Iterator[str]]) -> list[str]:
    """What `fault` finds in each file of the package, all of it at once."""
    return [f"{source.name}: {text}" for source in SOURCES for text in fault(source)]


def imported_modules(source: Source) -> set[str]:
    """Modules of the package that `source` imports; names inside a module give the module."""
    found: set[str] = set()
    for name in source.imports - {"nvmc", "nvmc.__version__"}:
        if name.split(".")[0] == "nvmc":
            while name not in MODULES:
                name = name.rpartition(".")[0]
            found.add(name)
    return found


def test_every_room_has_a_floor():
    assert {room(name) for name in MODULES} - {"nvmc"} <= FLOORS.keys()


def upward(source: Source) -> Iterator[str]:
    here = room(source.name)
    for name in imported_modules(source):
        there = room(name)
        if there == "nvmc":
            yield "imports names from nvmc itself; import the module"
        elif here not in ("nvmc", there) and FLOORS[there] >= FLOORS[here]:
            yield f"is on floor {FLOORS[here]} and imports {name} (floor {FLOORS[there]})"


def test_imports_point_downward():
    assert not offenders(upward)


def far_from_home(source: Source) -> Iterator[str]:
    for library in {name.split(".")[0] for name in source.imports} & HOMES.keys():
        if room(source.name) not in HOMES[library]:
            yield f"imports {library}, which only {sorted(HOMES[library])} may"


def test_libraries_stay_at_home():
    assert not offenders(far_from_home)


def test_dependencies_are_those_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {re.split(r"[^\w.-]", text)[0] for text in project["dependencies"]}
    wanted = [
        text for name in ("cluster", "data", "parquet", "report", "train") for text in extras[name]
    ]
    optional = {re.split(r"[^\w.-]", text)[0] for text in wanted}
    imported = {name.split(".")[0] for source in SOURCES for name in source.imports}
    imported -= {*sys.stdlib_module_names, "nvmc"}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} - optional == declared


def undeclared(source: Source) -> Iterator[str]:
    if not source.is_public or len(source.tree.body) == 1:
        return
    module = importlib.import_module(source.name)
    names: list[str] = module.__all__
    if len(names) != len(set(names)):
        yield "a name is twice in __all__"
    for name in names:
        item = getattr(module, name)
        if (inspect.isclass(item) or inspect.isroutine(item)) and not item.__doc__:
            yield f"{name} has no docstring"
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in source.tree.body if isinstance(node, definitions)}
    if hidden := {name for name in defined if not name.startswith("_")} - set(names):
        yield f"public by name but not in __all__: {sorted(hidden)}"


@pytest.mark.torch
def test_public_names_are_those_in_all():
    """Order is ruff's matter (RUF022), docstrings of definitions too (D)."""
    assert not offenders(undeclared)


def large(source: Source) -> Iterator[str]:
    if (lines := len(source.path.read_text(encoding="utf-8").splitlines())) >= 400:
        yield f"has {lines} lines"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            if (lines := node.end_lineno - node.lineno + 1) > 60:
                yield f"{node.name} has {lines} lines"


def test_rooms_are_small():
    assert not offenders(large)


def set_from_afar(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            yield f"line {node.lineno}: global"
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            drawn = re.fullmatch(r"(np|numpy)\.random\.([a-z]\w*)", text)
            if text in ("os.environ", "os.getenv") or (drawn and drawn[2] != "default_rng"):
                yield f"line {node.lineno}: {text}"


def test_no_settings_from_afar():
    """No environment variables, no global generator, no global names that functions rebind.

    But what kind of terminal this is, only the environment can say: in a notebook, Jupyter does.
    """
    found = offenders(set_from_afar)
    assert [
        line for line in found if not re.match(r"nvmc\.cli\.console: .*: os\.environ", line)
    ] == []


def guarding(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assert):
            parts = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
            for text in map(ast.unparse, parts):
                if not (text.endswith(" is not None") or text.startswith("isinstance(")):
                    yield f"line {node.lineno}: {text}"


def test_asserts_only_narrow_types():
    """They vanish under `python -O`, so none may guard what a user gives."""
    assert not offenders(guarding)


def test_tests_can_fail_and_repeat():
    """No tolerance as large as the value, no generator without a seed."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            place = f"{path.name} line {node.lineno}"
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            if (called.id if isinstance(called, ast.Name) else called) == "default_rng":
                assert node.args or node.keywords, f"{place}: unseeded"
            for keyword in node.keywords:
                if keyword.arg == "rtol" and isinstance(keyword.value, ast.Constant):
                    assert keyword.value.value < 0.5, f"{place}: rtol"


@pytest.mark.parametrize("part", ISOLATED)
def test_importing_a_part_loads_no_more_than_it_needs(part: str):
    code = f"import json, sys, {part}; print(json.dumps(list(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert part.split(".")[0] in loaded
    assert not loaded & ISOLATED[part]


@pytest.mark.parametrize("part", ["models", "passes", "runtime"])
def test_top_level_folders_are_reached_through_relative_links(part: str):
    link = PACKAGE / part
    assert link.is_symlink()
    assert os.readlink(link) == f"../{part}"


def test_no_file_names_a_path_of_one_machine():
    absolute = re.compile(rb"(?<![\w.~$}/-])/(home|root|Users|work|opt)/\w[\w.-]*/")
    here = str(ROOT).encode()
    for path in project_files():
        content = b"" if path.suffix in (".so", ".onnx") else path.read_bytes()
        assert here not in content, path
        assert not absolute.search(content), path
