"""Memory: what is needed and there is estimated, said, and not exceeded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nvmc.errors import ModelError, OutOfMemoryError
from nvmc.runtime import memory
from nvmc.runtime.memory import EACH, FIRST, LARGE, check_memory, fitting_jobs, needed

GB = 10**9


def there(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    monkeypatch.setattr(memory, "room", lambda: size)
    monkeypatch.setattr(memory, "lean", bool)


def test_too_little_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, 5 * GB)
    with pytest.raises(OutOfMemoryError) as caught:
        check_memory(GB, 4)
    assert str(caught.value) == (
        f"4 chips at once need about {FIRST + 3 * EACH:.1f} GB of memory, and 5.0 GB are "
        "available; try fewer --jobs"
    )
    with pytest.raises(OutOfMemoryError, match="a chip needs about 7.4 GB .* more memory"):
        check_memory(2 * GB, 1, laid_out=False)


def test_what_fits_small_or_unknown_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, 6 * GB)
    check_memory(GB, 2)
    there(monkeypatch, 0)
    check_memory(LARGE - 1, 1000)
    there(monkeypatch, None)
    check_memory(GB, 1000)


@pytest.mark.parametrize("size", [GB, 4 * GB, 20 * GB, 500 * GB])
@pytest.mark.parametrize("shared", [True, False])
def test_automatic_jobs_are_the_most_that_fit(
    monkeypatch: pytest.MonkeyPatch, size: int, shared: bool
) -> None:
    there(monkeypatch, size)
    jobs = fitting_jobs(GB, 32, shared)
    assert jobs == 1 or needed(GB, jobs, shared) <= size
    assert jobs == 32 or needed(GB, jobs + 1, shared) > size
    assert fitting_jobs(LARGE - 1, 32) == 32


@pytest.mark.parametrize(
    ("text", "kind"),
    [("std::bad_alloc", OutOfMemoryError), ("Failed to allocate memory for requested buffer of "
      "size 9", OutOfMemoryError), ("no such operator", ModelError)],
)  # fmt: skip
def test_what_onnxruntime_cannot_allocate(
    monkeypatch: pytest.MonkeyPatch, text: str, kind: type[Exception]
) -> None:
    from nvmc.runtime import sessions

    class Broken:
        def run(self, *_: object) -> None:
            raise RuntimeError(text)

    with pytest.raises(kind):
        sessions.run_once(Broken(), ["y"], {"x": np.zeros(1)})


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_memory
folder = Path(sys.argv[2])
bench_memory.measure("cells 1", folder / "mlp.onnx", "small-mlp.onnx", folder, strict=True)
"""


@pytest.mark.slow
def test_a_chip_takes_few_copies_of_its_network(tmp_path: Path) -> None:
    """The codes, the weights, and onnxruntime's packed ones: 1/4 + 1 + 1 + one layer."""
    benchmarks = Path(__file__).parents[1] / "benchmarks"
    script = str(benchmarks / "bench_memory.py")
    make = [sys.executable, script, "64", "--kinds", "mlp", "--folder", str(tmp_path), "--phase"]
    subprocess.run([*make, "make"], check=True)
    subprocess.run([*make, "compile"], check=True, capture_output=True)
    command = [sys.executable, "-c", PROGRAM, str(benchmarks), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    base, peak, _ = map(float, done.stdout.split()[-3:])
    assert peak - base < 3 * 64
