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

import pytest

from source_tree import PACKAGE, ROOT, Source, project_files, sources

FLOORS = {
    "nvmc.cli": 8,
    "nvmc.executors": 7,
    "nvmc.training": 7,
    "nvmc.compiler": 6,
    "nvmc.evaluation": 6,
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
    "nvmc.errors": 1,
    "nvmc.rng": 1,
}

# Where each of these libraries may be imported, be it inside a function.
HOMES = {
    "click": {"nvmc.cli"},
    "distributed": {"nvmc.executors"},
    "matplotlib": {"nvmc.report"},
    "onnx": {"nvmc.passes"},
    "onnx_ir": {"nvmc.passes", "nvmc.torchgraph", "nvmc.training"},
    "onnxruntime": {"nvmc.runtime"},
    "pyarrow": {"nvmc.store"},
    "rich": {"nvmc.cli"},
    "sklearn": {"nvmc.data"},
    "skopt": {"nvmc.training"},
    "sqlite3": {"nvmc.store"},
    "torch": {"nvmc.executors", "nvmc.models", "nvmc.torchgraph", "nvmc.training"},
}

# Import names of distributions whose two names differ.
DISTRIBUTIONS = {
    "array_api_compat": "array-api-compat",
    "google": "protobuf",
    "onnx_ir": "onnx-ir",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
}

# What importing a part may not load.
ISOLATED = {
    "nvmc": {"click", "numpy", "onnx", "onnx_ir", "onnxruntime", "pydantic", "sklearn", "torch"},
    "nvmc.cli": {"matplotlib", "onnx", "onnxruntime", "scipy", "sklearn", "torch"},
    "nvmc.hardware.devices": {"click", "onnx", "onnxruntime", "sklearn", "torch"},
    "nvmc.passes": {"click", "onnxruntime", "sklearn", "torch"},
    "nvmc.runtime.crossbar": {"click", "onnx", "onnxruntime", "sklearn", "torch"},
}

SOURCES = sources()
MODULES = {source.name for source in SOURCES}


def room(module: str) -> str:
    """The row of FLOORS that `module` belongs to; `nvmc` is the entrance, above all floors."""
    return ".".join(module.split(".")[:2])


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


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_imports_point_downward(source: Source):
    here = room(source.name)
    for name in imported_modules(source):
        there = room(name)
        assert there != "nvmc", f"{source.name} imports names from nvmc itself; import the module"
        if here not in ("nvmc", there):
            assert FLOORS[there] < FLOORS[here], (
                f"{source.name} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"
            )


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_libraries_stay_at_home(source: Source):
    for library in {name.split(".")[0] for name in source.imports} & HOMES.keys():
        assert room(source.name) in HOMES[library], (
            f"{source.name} imports {library}, which only {sorted(HOMES[library])} may"
        )


def test_dependencies_are_those_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {re.split(r"[^\w.-]", text)[0] for text in project["dependencies"]}
    wanted = [text for name in ("cluster", "parquet", "report", "train") for text in extras[name]]
    optional = {re.split(r"[^\w.-]", text)[0] for text in wanted}
    imported = {name.split(".")[0] for source in SOURCES for name in source.imports}
    imported -= {*sys.stdlib_module_names, "nvmc"}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} - optional == declared


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_public_names_are_those_in_all(source: Source):
    """Order is ruff's matter (RUF022), docstrings of definitions too (D)."""
    if not source.is_public or len(source.tree.body) == 1:
        return
    module = importlib.import_module(source.name)
    names: list[str] = module.__all__
    assert len(names) == len(set(names))
    for name in names:
        item = getattr(module, name)
        if inspect.isclass(item) or inspect.isroutine(item):
            assert item.__doc__, f"{source.name}.{name} has no docstring"
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in source.tree.body if isinstance(node, definitions)}
    hidden = {name for name in defined if not name.startswith("_")} - set(names)
    assert not hidden, f"{source.name}: public by name but not in __all__: {sorted(hidden)}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_rooms_are_small(source: Source):
    assert len(source.path.read_text().splitlines()) < 400
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 60, f"{source.name}.{node.name} has {lines} lines"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_settings_from_afar(source: Source):
    """No environment variables, no global generator, no global names that functions rebind."""
    for node in ast.walk(source.tree):
        assert not isinstance(node, ast.Global), f"{source.name} line {node.lineno}"
        if isinstance(node, ast.Attribute):
            found = ast.unparse(node)
            assert found not in ("os.environ", "os.getenv"), f"{source.name} line {node.lineno}"
            drawn = re.fullmatch(r"(np|numpy)\.random\.([a-z]\w*)", found)
            assert not drawn or drawn[2] == "default_rng", f"{source.name} line {node.lineno}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_asserts_only_narrow_types(source: Source):
    """They vanish under `python -O`, so none may guard what a user gives."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assert):
            parts = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
            for told in map(ast.unparse, parts):
                narrows = told.endswith(" is not None") or told.startswith("isinstance(")
                assert narrows, f"{source.name} line {node.lineno}: {told}"


def test_tests_can_fail_and_repeat():
    """No tolerance as large as the value, no generator without a seed."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            place = f"{path.name} line {node.lineno}"
            if ast.unparse(node.func).endswith("default_rng"):
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
