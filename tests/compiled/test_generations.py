"""Compilations that are killed at any moment, and that crowd one folder: one network, whole."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nvmc.compiled.artifact as artifact
from folder_writer import files_of, model_files_of, write
from nvmc import compile_model, open_compiled
from nvmc.compiled.artifact import RESULTS_FILE
from nvmc.compiled.generations import MANIFEST_FILE, MODEL_FILE, current
from nvmc.compiled.staging import hidden_folder, locked
from nvmc.errors import ArtifactError
from nvmc.store import Store
from onnx_text import proto_of
from source_tree import ROOT
from store_writer import INFO, KEY, row_of, whole

NETWORK = "g (float[N,3] x) => (float[N,2] y) <float[3,2] w> { y = MatMul (x, w) }"
WRITER = [sys.executable, str(ROOT / "tests" / "folder_writer.py")]
CALLS = ["fsync", "link", "linkat", "mkdir", "mkdirat", "rename", "renameat", "renameat2"]
CALLS += ["rmdir", "unlink", "unlinkat"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    (folder / "m.onnx").write_bytes(proto_of(NETWORK).SerializeToString())
    compiled = compile_model(folder / "m.onnx", "rram4", output=folder / "m.nvmc")
    return compiled.folder / MANIFEST_FILE


def manifest_of(template: Path) -> dict[str, Any]:
    return json.loads(template.read_text())


def killed(command: list[str], line: str, code: int = -signal.SIGKILL) -> bool:
    """Run a writer for one line; whether it was killed, else it ended well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, input=line, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, code), (done.returncode, done.stderr)
    return done.returncode != 0


def generation_in(folder: Path, template: dict[str, Any], *generations: int) -> int:
    """Which of some generations is in the folder, whole, by every way to read it."""
    network = open_compiled(folder)
    (found,) = {g for g in generations if network.manifest == manifest(g, template)}
    for name, content in files_of(found, template).items():
        if name != MANIFEST_FILE:
            assert current(folder, name).read_bytes() == content
    return found


def manifest(generation: int, template: dict[str, Any]) -> artifact.Manifest:
    return artifact.Manifest.model_validate_json(files_of(generation, template)[MANIFEST_FILE])


def stock_reader_finds_one(folder: Path, template: dict[str, Any], *generations: int) -> None:
    """`model.onnx` alone is that of one generation, and its data are its own."""
    content = (folder / MODEL_FILE).read_bytes()
    (found,) = {g for g in generations if files_of(g, template)[MODEL_FILE] == content}
    name = content.splitlines()[0].decode()
    if name:
        assert (folder / name).read_bytes() == files_of(found, template)[name]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(RESULTS_FILE)}


def check_folder(folder: Path, template: dict[str, Any], old: int, new: int) -> None:
    """What must hold behind a kill, before and behind the recovery, and after one more."""
    stock_reader_finds_one(folder, template, old, new)
    with pytest.MonkeyPatch.context() as patch:  # without the right to write
        patch.setattr("nvmc.compiled.generations.finish", lambda folder: None)
        seen = generation_in(folder, template, old, new)
    assert generation_in(folder, template, old, new) == seen
    stock_reader_finds_one(folder, template, seen)
    assert not (folder / ".commit").exists()
    write(folder, 7, template)
    assert generation_in(folder, template, 7) == 7
    assert names_in(folder) == set(files_of(7, template))
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def kills(folder: Path, generation: int, template: Path, traced: bool) -> Iterator[None]:
    """Compile again and again, killed at one call after the other; yields after each kill.

    Before every call that changes names, by Python; or behind every system call, by strace.
    """
    command = [*WRITER, str(folder), str(template)]
    if not traced:
        yield from forks_killed([*command, "--fork"], generation)
        return
    check_strace()
    for call in CALLS:
        for point in itertools.count(1):
            inject = f"inject=?{call}:signal=KILL:when={point}"
            options = ["-e", f"trace=?{call}", "-e", inject]
            traced_command = ["strace", "-f", "-o", "/dev/null", *options, *command]
            if not killed(traced_command, f"{generation} 0 0"):
                break
            yield


def forks_killed(command: list[str], generation: int) -> Iterator[None]:
    """Forks of one writer, killed at one call after the other; yields after each kill."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        for point in itertools.count(1):
            print(f"{generation} {point} 0", file=writer.stdin, flush=True)
            code = os.waitstatus_to_exitcode(int(writer.stdout.readline()))
            if code == 0:
                return
            assert code == -signal.SIGKILL
            yield


def check_strace() -> None:
    command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "true"]
    if shutil.which("strace") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("strace is not installed, or may trace nothing here")


@pytest.mark.parametrize(
    ("old", "new", "traced"),
    [
        pytest.param(1, 3, False, id="before"),
        pytest.param(1, 3, True, id="strace"),
        pytest.param(1, 2, False, id="before, data go", marks=pytest.mark.slow),
        pytest.param(1, 2, True, id="strace, data go", marks=pytest.mark.slow),
    ],
)
def test_killed_at_every_point_beside_results(
    tmp_path: Path, template: Path, old: int, new: int, traced: bool
) -> None:
    text, folder, count = manifest_of(template), tmp_path / "net" / "net.nvmc", 0
    folder.parent.mkdir()
    write(folder, old, text)
    with Store.open(folder / RESULTS_FILE) as store:  # a run that goes on all the while
        kept = store.experiment(KEY, INFO)
        for _ in kills(folder, new, template, traced):
            kept.add(*row_of(count))
            count += 1
            check_folder(folder, text, old, new)
            write(folder, old, text)
        assert store.unsaved == 0 and kept.known() == whole(count)
    with Store.open(folder / RESULTS_FILE, readonly=True) as store:
        assert store.experiments()[0].complete == count
    assert count > (12 if traced else 20), "the calls are not counted"


@pytest.mark.parametrize(
    "traced",
    [
        pytest.param(False, id="before"),
        pytest.param(True, id="strace", marks=pytest.mark.slow),
    ],
)
def test_first_compilation_killed_at_every_point(
    tmp_path: Path, template: Path, traced: bool
) -> None:
    text, folder, count = manifest_of(template), tmp_path / "net" / "net.nvmc", 0
    folder.parent.mkdir()
    for _ in kills(folder, 3, template, traced):
        if folder.exists():
            check_folder(folder, text, 3, 3)
        write(folder, 7, text)
        assert generation_in(folder, text, 7) == 7
        assert names_in(folder) == set(files_of(7, text))
        assert [p.name for p in folder.parent.iterdir()] == [folder.name]
        shutil.rmtree(folder)
        count += 1
    assert count > 8, "the calls are not counted"


@pytest.mark.parametrize(
    ("old", "new", "traced"),
    [
        pytest.param(1, 3, False, id="before"),
        pytest.param(1, 3, True, id="strace", marks=pytest.mark.slow),
        pytest.param(1, 2, False, id="before, data go", marks=pytest.mark.slow),
        pytest.param(2, 4, True, id="strace, no data", marks=pytest.mark.slow),
    ],
)
def test_a_file_is_killed_at_every_point(
    tmp_path: Path, template: Path, old: int, new: int, traced: bool
) -> None:
    """What `nvmc program -o` and its like write: the old file with its data, or the new one."""
    text, path, count = manifest_of(template), tmp_path / "chip.onnx", 0
    write(path, old, text)
    for _ in kills(path, new, template, traced):
        content = path.read_bytes()
        (found,) = [g for g in (old, new) if model_files_of(g, path.name)[path.name] == content]
        for name, whole_content in model_files_of(found, path.name).items():
            assert (tmp_path / name).read_bytes() == whole_content
        write(path, old, text)
        assert {p.name for p in tmp_path.iterdir()} == set(model_files_of(old, path.name))
        count += 1
    assert count > 6, "the calls are not counted"


def test_data_that_a_killed_compilation_brought_are_removed(tmp_path: Path, template: Path) -> None:
    text, folder = manifest_of(template), tmp_path / "net.nvmc"
    write(folder, 2, text)
    (folder / f"{MODEL_FILE}.{'0' * 16}.data").write_bytes(b"of no model")
    (folder / f"{MODEL_FILE}.data").write_bytes(b"of format 2")
    (folder / "notes.txt").write_text("mine")
    write(folder, 4, text)
    assert names_in(folder) == {*files_of(4, text), "notes.txt"}


class Writers:
    """Processes that compile into one folder, a line each time."""

    def __init__(self, folder: Path, template: Path, count: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*WRITER, str(folder), str(template)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._processes = [
            subprocess.Popen(command, text=True, env=environment, **pipes) for _ in range(count)
        ]

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.communicate()
        assert {process.returncode for process in self._processes} == {0}

    def race(self, generations: list[int], point: int) -> None:
        """Let one process compile each; the first is held before a call."""
        for process, which in zip(self._processes, generations, strict=False):
            assert process.stdin is not None
            held = point if which == generations[0] else 0
            process.stdin.write(f"{which} {held} {HELD_S}\n")
            process.stdin.flush()

    def calls(self, count: int) -> list[int]:
        """Wait for those that were begun; how many calls each took."""
        pipes = [process.stdout for process in self._processes[:count]]
        return [int(pipe.readline()) for pipe in pipes if pipe is not None]


HELD_S = 0.03
"""How long a process is held: the others compile in a tenth of it."""


def race_beside_results(folder: Path, template: Path, races: int) -> int:
    """Race after race, with a run that keeps chips and a reader that opens the folder.

    Returns:
        How often the folder was opened while it was raced for.
    """
    text, draw, opened, last, calls = manifest_of(template), random.Random(5), 0, 0, 50
    write(folder, last, text)
    results = Store.open(folder / RESULTS_FILE)
    with results, Writers(folder, template, 4) as writers:
        kept = results.experiment(KEY, INFO)
        for number in range(races):
            busy = [10 * (number + 1) + which for which in range(draw.randrange(2, 5))]
            writers.race(busy, number % calls + 1)
            kept.add(*row_of(number))
            for _ in range(3):
                generation_in_force(folder, text, last, *busy)
                opened += 1
            calls = writers.calls(len(busy))[0]
            last = generation_in(folder, text, *busy)
            assert names_in(folder) == set(files_of(last, text))
            assert [p.name for p in folder.parent.iterdir()] == [folder.name]
        assert results.unsaved == 0 and kept.known() == whole(races)
    with Store.open(folder / RESULTS_FILE, readonly=True) as store:
        assert store.experiments()[0].complete == races
    return opened


def race_to_be_first(folder: Path, template: Path, races: int) -> None:
    """There is no folder; each race makes it once, with one of the networks."""
    text, calls = manifest_of(template), 20
    with Writers(folder, template, 3) as writers:
        for number in range(races):
            busy = [10 * number + which for which in range(3)]
            writers.race(busy, number % calls + 1)
            calls = writers.calls(3)[0]
            last = generation_in(folder, text, *busy)
            assert names_in(folder) == set(files_of(last, text))
            assert [p.name for p in folder.parent.iterdir()] == [folder.name]
            shutil.rmtree(folder)


def generation_in_force(folder: Path, template: dict[str, Any], *generations: int) -> None:
    """Open the folder while it may be replaced: one of the networks, or it says it is another."""
    network = open_compiled(folder)
    (found,) = {g for g in generations if network.manifest == manifest(g, template)}
    try:
        assert network.read_tiles() == files_of(found, template)["tiles.json"]
    except ArtifactError as error:
        assert "compiled again" in str(error)


def test_races_lose_nothing(tmp_path: Path, template: Path) -> None:
    folder = tmp_path / "net" / "net.nvmc"
    folder.parent.mkdir()
    race_beside_results(folder, template, 50)


def test_races_to_be_first(tmp_path: Path, template: Path) -> None:
    folder = tmp_path / "net" / "net.nvmc"
    folder.parent.mkdir()
    race_to_be_first(folder, template, 20)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_races_lose_nothing_often(
    tmp_path: Path, template: Path, pytestconfig: pytest.Config
) -> None:
    """`pytest -m slow --races 500 tests/compiled/test_generations.py`."""
    races = pytestconfig.getoption("races")
    for name, race in (("kept", race_beside_results), ("first", race_to_be_first)):
        folder = tmp_path / name / "net.nvmc"
        folder.parent.mkdir()
        print(race(folder, template, races))


def test_hidden_folders_of_the_living_are_not_removed(tmp_path: Path, template: Path) -> None:
    text, folder = manifest_of(template), tmp_path / "net.nvmc"
    write(folder, 2, text)
    with hidden_folder(folder, folder.name) as living:
        write(folder, 4, text)
        assert names_in(folder) == {*files_of(4, text), living.name}
    assert names_in(folder) == set(files_of(4, text))


def test_hidden_folders_of_others_are_not_removed(tmp_path: Path, template: Path) -> None:
    """What a compilation of nvmc's earlier layout left may hold results."""
    text, folder = manifest_of(template), tmp_path / "net.nvmc"
    other, empty = tmp_path / ".net.nvmc.0123abcd", tmp_path / ".net.nvmc.0123abce"
    other.mkdir()
    empty.mkdir()
    (other / RESULTS_FILE).write_bytes(b"precious")
    write(folder, 2, text)
    assert (other / RESULTS_FILE).read_bytes() == b"precious" and not empty.exists()


def test_locks_exclude_and_leave_nothing(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with locked(lock) as alone:
        assert alone
        with pytest.raises(BlockingIOError), locked(lock, wait=False):
            pass
        assert lock.exists()
    assert not lock.exists()


def test_without_locks_compilations_work(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    text, folder = manifest_of(template), tmp_path / "net.nvmc"
    for generation in (1, 3, 2):
        write(folder, generation, text)
        assert generation_in(folder, text, generation) == generation
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_the_command_killed_at_every_point(tmp_path: Path) -> None:
    """`nvmc compile` itself: the old network or the new, and all the results."""
    code = "import sys; from folder_writer import Point; from nvmc.cli import main; "
    code += "at = Point(); at.point = int(sys.argv.pop()); sys.exit(main(sys.argv[1:]))"
    (tmp_path / "m.onnx").write_bytes(proto_of(NETWORK).SerializeToString())
    folder, point = tmp_path / "net" / "net.nvmc", 0
    folder.parent.mkdir()
    old = compile_model(tmp_path / "m.onnx", "rram4", output=folder).manifest
    with Store.open(folder / RESULTS_FILE) as store:
        store.experiment(KEY, INFO).add(*row_of(0))
    new = None
    command = [sys.executable, "-c", code, "compile", str(tmp_path / "m.onnx"), "-o", str(folder)]
    command += ["--device", "fefet2", "--weight-bits", "5"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    ended = False
    while not ended:
        point += 1
        done = subprocess.run([*command, str(point)], env=environment, capture_output=True)
        ended = done.returncode == 0
        assert ended or done.returncode == -signal.SIGKILL, done.stderr
        found = open_compiled(folder).manifest
        if found != old:
            assert found.target.weight_bits == 5 and new in (None, found)
            new = found
            compile_model(tmp_path / "m.onnx", "rram4", output=folder)
        with Store.open(folder / RESULTS_FILE, readonly=True) as store:
            assert store.experiments()[0].complete == 1
    assert point > 20 and new is not None
    compile_model(tmp_path / "m.onnx", "rram4", output=folder)
    assert names_in(folder) == {MANIFEST_FILE, MODEL_FILE, "tiles.json"}
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
