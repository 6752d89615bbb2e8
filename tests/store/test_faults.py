"""Real processes that are killed, that crowd one store, whose disk fills up, whose folder moves."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nvmc.compiled.artifact import RESULTS_FILE
from nvmc.compiled.generations import MANIFEST_FILE, finish, replacing_folder
from nvmc.store import Store
from store_writer import INFO, KEY, whole

TESTS = Path(__file__).parents[1]
WRITER = [sys.executable, str(TESTS / "store_writer.py")]


def writer(path: Path, first: int, last: int, pause: float | str = 0) -> subprocess.Popen[str]:
    """A process that fills the store in `path` and says which chips it has kept."""
    return subprocess.Popen(
        [*WRITER, str(path), str(first), str(last), str(pause)],
        stdin=subprocess.PIPE if pause == "lines" else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> list[int]:
    """The chips a process has said it kept."""
    out, err = process.communicate()
    assert process.returncode == code, err
    return [int(line) for line in out.splitlines()]


def known(path: Path) -> dict[int, tuple[int, float]]:
    """What the store holds, which is sound."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with Store.open(path) as store:
        # None where the process was killed between making the store and its first entry.
        assert len(store.experiments()) <= 1
        return store.experiment(KEY, INFO).known()


def killed_at_random(path: Path, chips: int, rounds: int, draw: random.Random) -> None:
    """Start the same run again and again, each killed early or late; at last let it end."""
    said: set[int] = set()
    for _ in range(rounds):
        process = writer(path, 0, chips, 0.001)
        assert process.stdout is not None
        if draw.random() < 0.8:  # once it writes; else while it starts, or makes the store
            process.stdout.readline()
            time.sleep(draw.uniform(0, 0.05))
        else:
            time.sleep(draw.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        with process:  # communicate would pass over lines that were read ahead
            lines = process.stdout.read().splitlines(keepends=True)
        # The first line was read above, and a half-written last one says nothing.
        said |= {int(line) for line in lines if line.endswith("\n")}
        if path.exists():
            assert said <= known(path).keys()
    ended(writer(path, 0, chips))
    assert known(path) == whole(chips)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    killed_at_random(tmp_path / "results.sqlite", 300, 12, random.Random(1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_moment_often(tmp_path: Path, seed: int) -> None:
    killed_at_random(tmp_path / "results.sqlite", 3000, 60, random.Random(seed))


@pytest.mark.slow
def test_processes_that_do_the_same_killed_at_any_moment(tmp_path: Path) -> None:
    path, draw = tmp_path / "results.sqlite", random.Random(7)
    running: list[subprocess.Popen[str]] = []
    for _ in range(60):
        running.append(writer(path, 0, 2000, 0.001))
        time.sleep(draw.uniform(0, 0.2))
        if len(running) > 2:
            process = running.pop(draw.randrange(3))
            process.kill()
            process.communicate()
    for process in running:
        ended(process)
    ended(writer(path, 0, 2000))
    assert known(path) == whole(2000)


def test_processes_that_do_the_same(tmp_path: Path) -> None:
    """No chip twice: both write each one they find missing, and the rows are those of one."""
    path = tmp_path / "results.sqlite"
    processes = [writer(path, 0, 400, 0.0002) for _ in range(3)]
    said = [ended(process) for process in processes]
    assert known(path) == whole(400)
    assert set().union(*said) == set(range(400))
    with Store.open(path) as store:
        assert store.experiments()[0].complete == 400


def test_processes_that_share_the_work(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    processes = [writer(path, first, first + 150) for first in range(0, 600, 150)]
    assert sorted(chip for process in processes for chip in ended(process)) == list(range(600))
    assert known(path) == whole(600)


FULL = """
import os, resource, sys
from pathlib import Path
from nvmc.store import Store
from store_writer import INFO, KEY, row_of, whole

place, kind = Path(sys.argv[1]), sys.argv[2]
ballast = place / "ballast"
said = []
with Store.open(place / "results.sqlite", on_trouble=said.append) as store:
    experiment = store.experiment(KEY, INFO)
    experiment.add_many(map(row_of, range(500)))
    if kind == "limit":
        size = os.path.getsize(place / "results.sqlite-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, resource.RLIM_INFINITY))
    else:
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
    for chip in range(500, 1500):
        experiment.add(*row_of(chip))
    kept = 1500 - store.unsaved
    assert 500 <= kept < 1500, kept
    assert len(said) == 1 and "full" in said[0], said
    assert experiment.known() == whole(1500)
    store.flush()
    assert 0 < store.unsaved <= 1000 and "full" in store.trouble
    with Store.open(place / "results.sqlite", readonly=True) as other:
        assert other.experiments()[0].complete == 1500 - store.unsaved
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    else:
        ballast.unlink()
    if sys.argv[3] == "flush":
        store.flush()
        assert store.unsaved == 0 and store.trouble is None
assert store.unsaved == 0
with Store.open(place / "results.sqlite", readonly=True) as store:
    assert store.experiments()[0].complete == 1500
"""


def full_disk(place: Path, kind: str, end: str, around: list[str]) -> None:
    path = os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", "")))
    command = [*around, sys.executable, "-c", FULL, str(place), kind, end]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("end", ["flush", "close"])
def test_files_that_may_not_grow(tmp_path: Path, end: str) -> None:
    full_disk(tmp_path, "limit", end, [])


@pytest.mark.parametrize("end", ["flush", "close"])
def test_full_disk(tmp_path: Path, end: str) -> None:
    """A real one, of a megabyte, where a name space may be made."""
    spaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=1m none {tmp_path} && exec "
    if shutil.which("unshare") is None or subprocess.run([*spaces, f"{mount} true"]).returncode:
        pytest.skip("no name space may be made here")
    full_disk(tmp_path, "disk", end, [*spaces, f'{mount} "$@"', "sh"])


def test_a_list_on_a_full_disk(tmp_path: Path) -> None:
    """SQLite puts files beside one that it reads; what is missing is said, and what to do."""
    spaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=256k none {tmp_path} && exec "
    if shutil.which("unshare") is None or subprocess.run([*spaces, f"{mount} true"]).returncode:
        pytest.skip("no name space may be made here")
    python = (
        "import pathlib, sys\n"
        "from nvmc.cli import main\n"
        "from nvmc.store import Store\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "with Store.open(place / 'r.sqlite') as store:\n"
        "    store.experiment({}, {}).add(0, 1, 1.0, 1.0)\n"
        "with open(place / 'ballast', 'wb', buffering=0) as file:\n"
        "    try:\n"
        "        while file.write(bytes(4096)):\n"
        "            pass\n"
        "    except OSError:\n"
        "        pass\n"
        "sys.exit(main(['results', 'list', str(place / 'r.sqlite')]))\n"
    )
    command = [*spaces, f'{mount} "$@"', "sh", sys.executable, "-c", python, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"nvmc: error: cannot read {str(tmp_path / 'r.sqlite')!r}: the disk is full; SQLite needs "
        "64 kB beside the file to read it: free space, or copy the file to another disk\n"
    )


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


def test_no_room_for_a_new_store(tmp_path: Path) -> None:
    code = "import sys; from nvmc.store import Store; Store.open(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "results.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert "StoreError: cannot write" in done.stderr and "--no-store" in done.stderr
    with Store.open(tmp_path / "results.sqlite") as store:
        assert store.experiments() == []


def manifest(content: str) -> str:
    """A manifest of which only its format and some content are looked at."""
    return json.dumps({"format": "nvmc.compiled/3", "content": content})


def compile_again(folder: Path, content: str) -> None:
    """What `nvmc compile` does to the folder."""
    with replacing_folder(folder) as temporary:
        (temporary / MANIFEST_FILE).write_text(manifest(content))


def test_compiling_again_keeps_results_even_of_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "net.nvmc"
    compile_again(folder, "first")
    run = writer(folder / RESULTS_FILE, 0, 1200, "lines")
    assert run.stdin is not None and run.stdout is not None and run.stderr is not None
    run.stdout.readline()
    for number in range(60):
        run.stdin.write(10 * "\n")  # ten chips more, beside the compilation
        run.stdin.flush()
        compile_again(folder, str(number))
    while_it_ran = run.poll() is None
    run.stdin.close()  # on to the end
    with run:  # communicate would pass over lines that were read already
        out, err = run.stdout.read(), run.stderr.read()
    assert while_it_ran and (run.returncode, err) == (0, "")
    assert len(out.splitlines()) == 1199
    assert known(folder / RESULTS_FILE) == whole(1200)
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST_FILE, RESULTS_FILE]
    assert [p.name for p in tmp_path.iterdir()] == ["net.nvmc"]


def test_compiling_again_while_runs_come_and_go(tmp_path: Path) -> None:
    """The store never moves: no run is refused, and none loses a chip."""
    folder = tmp_path / "net.nvmc"
    compile_again(folder, "first")
    said: set[int] = set()
    for first in range(0, 300, 60):
        runs = [writer(folder / RESULTS_FILE, i, i + 30) for i in (first, first + 30)]
        while any(run.poll() is None for run in runs):
            compile_again(folder, str(first))
        for run in runs:
            out, err = run.communicate()
            assert (run.returncode, err) == (0, "")
            said |= set(map(int, out.split()))
    ended(writer(folder / RESULTS_FILE, 0, 300))
    assert said <= known(folder / RESULTS_FILE).keys()
    assert known(folder / RESULTS_FILE) == whole(300)


def test_a_compilation_that_fails_keeps_results(tmp_path: Path) -> None:
    folder = tmp_path / "net.nvmc"
    compile_again(folder, "first")
    ended(writer(folder / RESULTS_FILE, 0, 5))
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder):
        raise KeyboardInterrupt
    assert known(folder / RESULTS_FILE) == whole(5)


@pytest.mark.parametrize("name", [".commit", MANIFEST_FILE])
def test_an_interruption_at_a_rename_keeps_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "net.nvmc"
    compile_again(folder, "old")
    ended(writer(folder / RESULTS_FILE, 0, 5))
    with monkeypatch.context() as patch:
        for call in ("rename", "replace"):
            patch.setattr(os, call, interrupted_at(folder / name, getattr(os, call)))
        with pytest.raises(KeyboardInterrupt):
            compile_again(folder, "new")
    finish(folder)
    expected = "old" if name == ".commit" else "new"
    assert (folder / MANIFEST_FILE).read_text() == manifest(expected)
    assert known(folder / RESULTS_FILE) == whole(5)
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST_FILE, RESULTS_FILE]
    assert [p.name for p in tmp_path.iterdir()] == ["net.nvmc"]


def interrupted_at(place: Path, call: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Ctrl-C just before something is renamed to `place`."""

    def interrupted(source: Path, target: Path) -> None:
        if target == place:
            raise KeyboardInterrupt
        call(source, target)

    return interrupted


def test_a_run_goes_on_in_a_new_folder_where_the_old_one_was_removed(tmp_path: Path) -> None:
    folder = tmp_path / "net.nvmc"
    compile_again(folder, "first")
    run = writer(folder / RESULTS_FILE, 0, 20, "lines")
    assert run.stdin is not None and run.stdout is not None and run.stderr is not None
    run.stdout.readline()
    shutil.rmtree(folder)
    compile_again(folder, "second")
    run.stdin.close()
    with run:
        out, err = run.stdout.read(), run.stderr.read()
    assert run.returncode == 0, err
    assert known(folder / RESULTS_FILE).keys() == set(range(1, 20)), out
