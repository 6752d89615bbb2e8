"""Full disks and interruptions: what was there stays, nothing half-written is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import RESULTS_FILE, replacing_folder
from nvmc.errors import StoreError
from nvmc.store import Store

NVMC = [sys.executable, "-c", "import sys; from nvmc.cli import main; sys.exit(main())"]


def small_files() -> None:
    """No file of this process may grow beyond 8 KiB: writing more fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_full_disk_while_compiling(tmp_path: Path) -> None:
    command = [*NVMC, "compile", "zoo:lenet5-digits", "-o", str(tmp_path / "out.nvmc")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_network(tmp_path: Path) -> None:
    folder = tmp_path / "out.nvmc"
    assert main(["compile", "zoo:lenet5-digits", "-o", str(folder)]) == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    command = [*NVMC, "compile", "zoo:lenet5-digits", "--weight-bits", "3", "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.nvmc"]


def test_full_disk_while_programming(tmp_path: Path) -> None:
    folder = tmp_path / "out.nvmc"
    assert main(["compile", "zoo:lenet5-digits", "-o", str(folder)]) == 0
    (tmp_path / "chip.onnx").write_text("precious")
    command = [*NVMC, "program", str(folder), "--chip", "0", "-o", str(tmp_path / "chip.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert (tmp_path / "chip.onnx").read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chip.onnx", "out.nvmc"]


def interrupt(command: list[str], folder: Path, ready: str) -> subprocess.CompletedProcess[str]:
    """Run, send Ctrl-C once a file that matches `ready` exists, and wait for the end."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if list(folder.glob(ready)):
            os.kill(process.pid, signal.SIGINT)
            break
        time.sleep(0.001)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_interrupted_compile_leaves_nothing(tmp_path: Path) -> None:
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    done = interrupt([*NVMC, "compile", str(light), "-o", "out.nvmc"], tmp_path, ".out.nvmc.*")
    assert done.returncode == 130, done.stderr
    said = [line for line in done.stderr.splitlines() if line]
    assert said == ["nvmc: error: interrupted; nothing was left half-written"]
    assert list(tmp_path.iterdir()) == []


def test_interruption_between_the_renames_keeps_the_old_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out.nvmc"
    folder.mkdir()
    (folder / "manifest.json").write_text("old")
    rename = os.rename

    def interrupted(source: Path, target: Path) -> None:
        if target == folder and (Path(source) / "manifest.json").read_text() == "new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as temporary:
        (temporary / "manifest.json").write_text("new")
    assert (folder / "manifest.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("seconds", [2, 3.5, 6])
def test_interrupted_simulation_ends_at_once(tmp_path: Path, jobs: str, seconds: float) -> None:
    """At any moment: while it starts, while chips are made ready, while they run."""
    assert main(["compile", "zoo:lenet5-digits", "-o", str(tmp_path / "out.nvmc")]) == 0
    command = [*NVMC, "simulate", "out.nvmc", "--data", "digits", "--runs", "100000"]
    process = subprocess.Popen(
        [*command, "--jobs", jobs], stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    )
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGINT)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == b"" and err.decode().splitlines()[-1].startswith("nvmc: error: interrupted")


def test_interrupted_simulation_says_what_is_kept(tmp_path: Path) -> None:
    assert main(["compile", "zoo:lenet5-digits", "-o", str(tmp_path / "out.nvmc")]) == 0
    command = [*NVMC, "simulate", "out.nvmc", "--data", "digits", "--runs", "100000"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    kept = tmp_path / "out.nvmc" / RESULTS_FILE
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not complete(kept):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert [line for line in err.splitlines() if line] == [
        "nvmc: note: the chips that ended are kept in 'out.nvmc/results.sqlite'; the same command "
        "goes on from there",
        "nvmc: error: interrupted; nothing was left half-written",
    ]
    assert complete(kept) > 0


def complete(path: Path) -> int:
    """Chips in a store that were run on all images."""
    try:
        with Store.open(path, readonly=True) as store:
            return sum(entry.complete for entry in store.experiments())
    except StoreError:
        return 0
