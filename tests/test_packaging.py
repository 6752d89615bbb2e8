"""A wheel and an sdist built from the tree install and run outside the checkout.

Nothing is downloaded: builds use the running environment's build tools, and the fresh
environments see its libraries (though not its own, editable, nvmc) through a .pth file.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from source_tree import PACKAGE, ROOT

pytestmark = pytest.mark.slow

FOLDERS = ("nvmc", "models", "passes", "runtime")
FILES = (
    "CHANGELOG.md",
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "setup.py",
)
PACKAGED = (".py", ".pyi", ".typed", ".toml", ".json", ".onnx", ".css", ".js")


def attempt(
    *command: str | Path, cwd: Path, extensions: str = "require", **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command run with no trace of the checkout; what setup.py does about C++ is said."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"NVMC_EXTENSIONS": extensions, **variables}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    done = attempt(*command, cwd=cwd)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist made from a clean copy of the tree, and the wheel made from it."""
    tree = tmp_path_factory.mktemp("tree")
    leftovers = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=leftovers)
    for name in FILES:
        shutil.copy(ROOT / name, tree / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", cwd=tree)
    return tree / "dist"


def test_wheel_holds_the_package_and_nothing_else(built: Path):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        contents = [wheel.read(name) for name in wheel.namelist()]
    expected = {
        str(Path(folder, file).relative_to(ROOT))
        for folder, _, files in os.walk(PACKAGE, followlinks=True)
        for file in files
        if file.endswith(PACKAGED)
    }
    compiled = ("rng/_normals", "runtime/crossbar/_native", "runtime/provider/_shim")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert names == expected | {f"nvmc/{name}{suffix}" for name in compiled}
    assert {"nvmc/py.typed", "nvmc/hardware/devices/library/fefet2.toml"} <= names
    for path in (ROOT, built.parent, Path.home()):
        assert not any(f"{path}/".encode() in content for content in contents)


def test_sdist_holds_each_file_once(built: Path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        members = sdist.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    top = {member.name.split("/")[1] for member in members if "/" in member.name}
    assert top == {*FILES, "PKG-INFO", "nvmc", "nvmc.egg-info", "setup.cfg"}
    names = {member.name.split("/", 1)[1] for member in members if "/" in member.name}
    for folder in ("nvmc/rng", "nvmc/runtime/crossbar", "nvmc/runtime/provider"):
        sources = {f"{folder}/csrc/{path.name}" for path in (ROOT / folder / "csrc").iterdir()}
        assert sources and sources <= names


def environment(folder: Path) -> Path:
    """The interpreter of a fresh environment without nvmc that sees the libraries of this one."""
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    Path(where.strip(), "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def install(python: Path, distribution: Path) -> tuple[str | Path, ...]:
    """The command that installs a distribution there."""
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-cache-dir")
    return (*pip, "--no-index", "--no-build-isolation", distribution)


@pytest.fixture(scope="module", params=["*.whl", "*.tar.gz"])
def installed(
    request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The `bin` folder of a fresh environment with the distribution installed."""
    folder = tmp_path_factory.mktemp("venv")
    python = environment(folder)
    run(*install(python, next(built.glob(request.param))), cwd=folder)
    return python.parent


NO_COMPILER = {"CC": "/nowhere/cc", "CXX": "/nowhere/c++"}


def test_without_a_compiler_it_installs_loudly_and_runs(built: Path, tmp_path: Path):
    sdist, python = next(built.glob("*.tar.gz")), environment(tmp_path)
    done = attempt(*install(python, sdist), "-v", cwd=tmp_path, extensions="try", **NO_COMPILER)
    assert done.returncode == 0, done.stdout + done.stderr
    text = " ".join((done.stdout + done.stderr).split())
    for part in ("WITHOUT its compiled code", "nvmc.rng._normals", "install g++"):
        assert part in text
    assert not list(tmp_path.rglob("nvmc/**/*.so"))
    nvmc, simulate = python.parent / "nvmc", ("--runs", "2", "--data", "digits", "--limit", "5")
    assert "circuits: NOT compiled" in run(nvmc, "doctor", cwd=tmp_path)
    run(nvmc, "compile", "zoo:lenet5-digits", "--device", "fefet2", "-o", "a.nvmc", cwd=tmp_path)
    said = attempt(nvmc, "simulate", *simulate, "--fidelity", "circuit", cwd=tmp_path)
    assert said.returncode == 0
    assert [line[:46] for line in said.stderr.splitlines()].count(
        "nvmc: note: nvmc is installed without its comp"
    ) == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("require", "/nowhere/c++"),
        ("yes", "NVMC_EXTENSIONS is 'yes'; expected try, require or none"),
    ],
)
def test_a_failed_compilation_can_be_an_error(built: Path, tmp_path: Path, asked: str, told: str):
    command = install(environment(tmp_path), next(built.glob("*.tar.gz")))
    done = attempt(*command, cwd=tmp_path, extensions=asked, **NO_COMPILER)
    assert done.returncode != 0 and told in done.stdout + done.stderr


def test_nothing_is_compiled_where_nothing_is_to_be(built: Path, tmp_path: Path):
    wheel = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    command = (*wheel, "--no-cache-dir", next(built.glob("*.tar.gz")))
    assert attempt(*command, cwd=tmp_path, extensions="none").returncode == 0
    (made,) = tmp_path.glob("*.whl")
    assert made.name.endswith("-py3-none-any.whl")


def test_imports_from_the_installation(installed: Path, tmp_path: Path):
    code = (
        "import nvmc, nvmc.passes, nvmc.models, nvmc.runtime.provider as provider\n"
        "import importlib.util\n"
        "print(provider.__file__)\n"
        "print([n for n in ('passes', 'models', 'runtime') if importlib.util.find_spec(n)])"
    )
    where, stray = run(installed / "python", "-W", "error", "-c", code, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(installed.parent)
    assert stray == "[]"


def test_provider_registers_from_the_installation(installed: Path, tmp_path: Path):
    code = "import nvmc; nvmc.register_provider()"
    run(installed / "python", "-W", "error", "-c", code, cwd=tmp_path)


def test_commands_run_from_the_installation(installed: Path, tmp_path: Path):
    nvmc = installed / "nvmc"
    assert "fefet2" in run(nvmc, "devices", cwd=tmp_path)
    run(nvmc, "compile", "zoo:lenet5-digits", "--device", "fefet2", "-o", "a.nvmc", cwd=tmp_path)
    simulate = ("simulate", "a.nvmc", "--runs", "3", "--data", "digits", "--limit", "20")
    result = json.loads(run(nvmc, *simulate, "--json", cwd=tmp_path))
    assert len(result["values"]) == 3
