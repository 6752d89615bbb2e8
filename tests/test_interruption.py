"""Ctrl-C where Python's own KeyboardInterrupt is unsafe or lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from source_tree import ROOT

SETUP = """
import os, signal, sys, time
from nvmc import interruption
interruption.install()
def press():
    os.kill(os.getpid(), signal.SIGINT)
"""


def run(script: str, folder: Path) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that has taken Ctrl-C over and may press it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(folder)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SETUP + script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def test_before_it_begins_and_while_modules_load_it_ends_at_once(tmp_path: Path) -> None:
    said = "nvmc: error: interrupted while it was starting; nothing was done\n"
    assert run("press(); print('too late')", tmp_path) == (130, "", said)
    begun = "interruption.begin()\nwith interruption.Loading(): press()\nprint('too late')"
    assert run(begun, tmp_path) == (130, "", said)


def test_no_module_is_left_half_imported(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("import __main__\n__main__.press()\nwhole = True\n")
    script = """
interruption.begin()
try:
    import half
    while True: time.sleep(1)
except KeyboardInterrupt as error:
    print(sys.modules["half"].whole, interruption.interrupted(error))
"""
    assert run(script, tmp_path) == (0, "True True\n", "")


def test_one_that_a_destructor_swallows_comes_again(tmp_path: Path) -> None:
    script = """
class Swallows:
    def __del__(self):
        press()
interruption.begin()
try:
    Swallows()
    while True: time.sleep(1)
except KeyboardInterrupt:
    print("raised")
"""
    assert run(script, tmp_path) == (0, "raised\n", "")


def test_a_kernel_ends_first(tmp_path: Path) -> None:
    """Raised in a callback it would reach us as an error of onnxruntime."""
    script = """
from dataclasses import replace
import numpy as np
import provider_standins as standins
from provider_networks import batch, matmul
from nvmc.compiled.operators import OPS
from nvmc.runtime.provider import make_session
def kernel(inputs, *_):
    press()
    print("the kernel ended")
    return [np.zeros((2, 3), np.float32)]
standins.current = kernel
OPS["CrossbarMatMul"] = replace(OPS["CrossbarMatMul"], kernel="provider_standins:current")
session = make_session(matmul(), quiet=True)
interruption.begin()
try:
    session.run(None, {"x": batch()})
    while True: time.sleep(1)
except KeyboardInterrupt:
    print("raised")
"""
    assert run(script, tmp_path) == (0, "the kernel ended\nraised\n", "")


def test_what_native_code_makes_of_it_counts_as_it(tmp_path: Path) -> None:
    script = """
interruption.begin()
try:
    try: press()
    except KeyboardInterrupt: raise RuntimeError("native code says so") from None
except RuntimeError as error:
    print(interruption.interrupted(error))
"""
    assert run(script, tmp_path) == (0, "True\n", "")


def test_a_second_one_does_not_wait(tmp_path: Path) -> None:
    script = """
interruption.begin()
try: press()
except KeyboardInterrupt: press()
print("too late")
"""
    code, out, err = run(script, tmp_path)
    assert (code, out, err.count("\n")) == (130, "", 1)
    assert err.startswith("nvmc: error: interrupted twice")


def test_behind_the_answer_it_comes_too_late(tmp_path: Path) -> None:
    script = "interruption.begin(); interruption.end(); press(); print('the answer')"
    assert run(script, tmp_path) == (0, "the answer\n", "")


def test_where_it_is_ignored_it_stays_so(tmp_path: Path) -> None:
    """As in the background of a shell."""
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
interruption.install()
press()
print("goes on")
"""
    assert run(script, tmp_path) == (0, "goes on\n", "")
