"""What every test shares: hypothesis draws the same examples on every machine and every run."""

import gc
import os
import re
import signal
import stat
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# Tests run one process per core: libraries that start a thread per core each would only make them
# wait for one another. To be set before numpy is loaded; processes that tests start inherit it.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# No test writes into the state folder of whoever runs it; processes that tests start inherit this.
_STATE = TemporaryDirectory(prefix="nvmc-state-")
os.environ["XDG_STATE_HOME"] = _STATE.name


# Nothing cuts the power within a test: to wait for the disk took a tenth of the tests' time.
# Processes that tests start do wait.
def sync_if_strange(descriptor: int, synced: Any = os.fsync) -> None:
    """Leave files and folders to the system; what is neither answers as it does."""
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        synced(descriptor)


os.fsync = sync_if_strange

# Collecting tests makes objects that stay: looking for garbage among them would take a fifth of its
# time. Behind it they are left out of every later search.
gc.disable()

settings.register_profile("nvmc", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("nvmc")

TORCH = find_spec("torch") is not None
NEEDS_TORCH = re.compile(
    r"^(?:import|from) (?:torch|nvmc\.(?:torchgraph|training|executors\.torch)|small_training)\b",
    re.MULTILINE,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--interrupts", type=int, default=4, help="How often a slow test interrupts each command."
    )
    parser.addoption(
        "--kills", type=int, default=2, help="How often a slow test kills each command."
    )
    parser.addoption(
        "--races", type=int, default=100, help="How often a slow test races for a folder."
    )
    parser.addoption(
        "--consumers",
        default=sys.executable,
        metavar="PYTHON",
        help="Of an environment that has OpenVINO, IREE, TVM, tract, onnx2torch and xDSL.",
    )
    parser.addoption(
        "--neurosim",
        metavar="MAIN",
        help="NeuroSIM/main of DNN+NeuroSim V1.4, built with memcelltype 2, cellBit 2 and "
        "novelMapping false in Param.cpp.",
    )
    parser.addoption(
        "--notebooks", action="store_true", help="Run all notebooks of tutorials in a slow test."
    )
    parser.addoption(
        "--soak", type=int, default=10_000, help="How many provider calls a slow test makes."
    )


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without torch, leave out the files that import it, themselves or through the package."""
    left_out = (
        not TORCH
        and collection_path.suffix == ".py"
        and NEEDS_TORCH.search(collection_path.read_text(encoding="utf-8"))
    )
    return True if left_out else None


@given(st.none())
def first_example(_: None) -> None:
    """hypothesis makes its generator with its first example, and looks for who refers to it."""


def pytest_collection_finish() -> None:
    # What is frozen is not seen as a referrer: older releases would warn that nothing holds the
    # generator, in whichever test a process runs first.
    first_example()
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not TORCH and item.get_closest_marker("torch"):
        pytest.skip("torch is not installed")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not TORCH:
        terminalreporter.write_line("torch is not installed: what needs it was left out")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Shells start background jobs with SIGINT ignored, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
