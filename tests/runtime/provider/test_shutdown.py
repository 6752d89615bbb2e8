"""The interpreter ends cleanly whatever the provider is doing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SETUP = """
import atexit, sys, threading, time
import numpy as np
import onnxruntime
onnxruntime.set_default_logger_severity(4)
import provider_standins as standins
from provider_networks import batch, matmul
from dataclasses import replace
from nvmc.compiled.operators import OPS
from nvmc.runtime.provider import make_session, register_provider

FEEDS = {"x": batch()}

def stand_in(kernel):
    standins.current = kernel
    OPS["CrossbarMatMul"] = replace(OPS["CrossbarMatMul"], kernel="provider_standins:current")
"""


def interpreter(script: str, before: str = "") -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), str(ROOT / "tests")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", before + SETUP + script]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


CLEAN = {
    "registered": "register_provider()",
    "a live session": "session = make_session(matmul()); session.run(None, FEEDS)",
    "a session in a cycle": """
class Holder: pass
holder = Holder(); holder.self = holder
holder.session = make_session(matmul()); holder.session.run(None, FEEDS)
""",
    "a caught exception": """
stand_in(lambda *_: 1 / 0)
session = make_session(matmul())
try:
    session.run(None, FEEDS)
except Exception as error:
    kept = error
""",
    "unregistered": """
session = make_session(matmul())
session.run(None, FEEDS)
del session
onnxruntime.unregister_execution_provider_library("NvmcExecutionProvider")
make_session(matmul()).run(None, FEEDS)
""",
    "imported only": "import nvmc.runtime.provider._shim",
}


@pytest.mark.parametrize("situation", CLEAN)
def test_exit_is_clean(situation: str):
    done = interpreter(CLEAN[situation])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_exception_on_the_way_out_is_only_an_exception():
    done = interpreter("stand_in(lambda *_: 1 / 0); make_session(matmul()).run(None, FEEDS)")
    assert done.returncode == 1
    assert "'dense': ZeroDivisionError: division by zero" in done.stderr


def test_exit_waits_for_a_kernel():
    script = """
started = threading.Event()
def slow(inputs, *_):
    started.set()
    time.sleep(0.5)
    print("the kernel ended", flush=True)
    return [np.zeros((2, 3), np.float32)]
stand_in(slow)
session = make_session(matmul())
threading.Thread(target=session.run, args=(None, FEEDS), daemon=True).start()
started.wait()
"""
    # How the process ends is not ours to say: onnxruntime itself aborts where one of its runs
    # returns, in a daemon thread, to an interpreter that has ended.
    assert interpreter(script).stdout == "the kernel ended\n"


def test_a_run_after_the_door_has_closed_is_an_error():
    before = """
import atexit
def late():  # registered before the native half is loaded, hence called after it has closed
    try:
        session.run(None, FEEDS)
    except Exception as error:
        print(error)
atexit.register(late)
"""
    done = interpreter("session = make_session(matmul())", before)
    assert (done.returncode, done.stderr) == (0, "")
    assert "'dense': the Python interpreter is shutting down" in done.stdout
