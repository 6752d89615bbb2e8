"""Inputs in a process of their own, and what came of each.

The process is a fork of one that has loaded everything, with bounds on the memory and processor
time of each input. It ends behind `BATCH` inputs, or behind one that is a fault.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from fuzz.case import Commands, Kind
from nvmc.cli import main

__all__ = ["MEMORY", "SECONDS", "Outcome", "judge", "outcomes", "run_commands"]

MEMORY = 2 << 30
"""Bytes that an input may take beyond what the loaded process has."""
SECONDS = 20
"""Of processor time that an input may take."""
BATCH = 50
"""Inputs that one process runs at most: a fork costs more than most inputs."""
HANGS = 300
"""Seconds after which a process that does not compute either is taken to hang."""
LONGEST = 4000
"""Characters of a line that somebody may still read."""

ERROR, NOTE = "nvmc: error: ", "nvmc: note: "
MEMORY_WORDS = re.compile(r"out of memory|bad_alloc|unable to allocate|MemoryError", re.IGNORECASE)
EPOCH = re.compile(r"epoch \d+ of \d+: ")
"""Progress of training, where standard error is no terminal."""
OWN_FAULT = re.compile(r"a fault of nvmc itself|; nothing was left half-written$")


class Outcome(NamedTuple):
    """What came of one input: `accepted`, `refused` or `fault`, and why."""

    verdict: str
    detail: str


def outcomes(
    kind: Kind,
    name: str,
    numbers: Iterable[int],
    seed: int,
    valid: Path,
    scratch: Path,
    *,
    debug: bool = False,
) -> Iterator[tuple[int, Outcome]]:
    """Run inputs of a kind.

    Args:
        kind: Of what.
        name: Its name.
        numbers: Which inputs.
        seed: Of their random numbers.
        valid: The folder that `kind.prepare` has filled.
        scratch: Where inputs lie while they are run.
        debug: Keep their folders, and show the traceback of an error.
    """

    def run(number: int) -> Outcome:
        here = scratch / f"{name}-{number}"
        here.mkdir(parents=True)
        draw = Random(f"{seed} {name} {number}")
        return run_commands(lambda: kind.make(draw, valid, here), here, debug)

    left = list(numbers)
    while left:
        done: list[int] = []
        for number, found in _forked(run, left[:BATCH]):
            if found.verdict == "fault" and done:
                also = f" (behind inputs {done[0]} … {done[-1]} in one process)"
                found = found._replace(detail=found.detail + also)
            yield number, found
            done.append(number)
            if not debug:
                shutil.rmtree(scratch / f"{name}-{number}", ignore_errors=True)
        left = left[len(done) :]


def _forked(run: Callable[[int], Outcome], numbers: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
    """Run inputs in one child, up to the first that is a fault."""
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads; these sleep
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            for number in numbers:
                try:
                    found = run(number)
                except BaseException:  # what `main` lets through, or the kind's own `make`
                    found = Outcome("fault", traceback.format_exc()[-LONGEST:])
                os.write(write, json.dumps(found).encode()[:60_000] + b"\n")
                if found.verdict == "fault":
                    break
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    told = 0
    found = None
    with os.fdopen(read, "rb") as file:
        for line in file:
            found = Outcome(*json.loads(line))
            yield numbers[told], found
            told += 1
    _, status = os.waitpid(child, 0)
    if told < len(numbers) and (found is None or found.verdict != "fault"):
        yield numbers[told], _ended(status)


def _ended(status: int) -> Outcome:
    """The fault of an input that ended the process."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return Outcome("fault", f"takes more than {SECONDS} s of processor time")
        if number == signal.SIGALRM:
            return Outcome("fault", f"hangs: it does nothing for {HANGS} s")
        return Outcome("fault", f"killed by {signal.Signals(number).name}")
    return Outcome("fault", f"the process ended by itself with {os.WEXITSTATUS(status)}")


def run_commands(make: Callable[[], Commands], here: Path, debug: bool = False) -> Outcome:
    """Make an input in this process and run its commands, with bounds on what they take."""
    os.chdir(here)
    commands = make()
    _bound()
    accepted = 0
    for words in commands:
        before = _content(here)
        code, out, err = _spoken(["--debug", *words] if debug else words)
        found = judge(code, out, err) or _changed(before, _content(here), code)
        if found is not None:
            return Outcome("fault", f"{found} <- nvmc {' '.join(words)}")
        if code:
            detail = next(line for line in err.splitlines() if line.startswith(ERROR))
            return Outcome("refused", f"{accepted} of {len(commands)}: {detail[len(ERROR) :]}")
        accepted += 1
    return Outcome("accepted", "")


def _bound() -> None:
    """Bound what this process takes from here on."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(HANGS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, resource.RLIM_INFINITY))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _spoken(words: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, native code's among them."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8", errors="strict")
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8", errors="strict")
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        texts: list[str] = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", errors="backslashreplace"))
        return code, texts[0], texts[1]


def judge(code: int, out: str, err: str) -> str | None:
    """What is wrong with how a command ended; None where it ended as it should."""
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith(ERROR)]
    others = [s for s in lines if not s.startswith((ERROR, NOTE)) and not EPOCH.match(s)]
    if code not in (0, 1, 2):
        return f"exit code {code}: {err}"
    if OWN_FAULT.search(err):
        return errors[0]
    if MEMORY_WORDS.search(err):
        return f"memory: {errors[0] if errors else err}"
    if "Traceback" in out + err:
        return f"a traceback: {out + err}"
    if others:
        return f"says besides: {others[0]}"
    if len(errors) != (code > 0):
        return f"{len(errors)} lines of error and exit code {code}"
    if any(len(line) > LONGEST for line in lines):
        return f"a line of {max(map(len, lines))} characters: {lines[0][:200]}"
    strange = [c for c in out + err if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]
    if strange:
        return f"writes the control character {strange[0]!r} to the terminal"
    return None


def _content(folder: Path) -> dict[str, str]:
    """Every file and folder below, with a digest."""
    found: dict[str, str] = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in folders:
            found[_text(os.path.join(root, name))] = "folder"
        for name in files:
            path = os.path.join(root, name)
            content = _rows(path) if name.endswith(b".sqlite") else None
            if content is None:
                content = Path(os.fsdecode(path)).read_bytes()
            found[_text(path)] = hashlib.sha256(content).hexdigest()
    start = len(str(folder)) + 1
    return {name[start:]: digest for name, digest in found.items()}


def _rows(path: bytes) -> bytes | None:
    """What is in a database, whose pages may lie elsewhere though it says the same."""
    with contextlib.closing(sqlite3.connect(os.fsdecode(path))) as connection:
        try:
            return "\n".join(connection.iterdump()).encode()
        except (sqlite3.Error, UnicodeError):
            return None


def _text(path: bytes) -> str:
    return path.decode("utf-8", errors="backslashreplace")


def _changed(before: dict[str, str], after: dict[str, str], code: int) -> str | None:
    """A file that should not have changed, come or gone."""
    for name in sorted(before.keys() | after.keys()):
        was, is_now = before.get(name), after.get(name)
        if was == is_now or name.startswith("kept") or name.endswith("/.lock"):
            continue
        what = "left behind" if was is None else "removed" if is_now is None else "changed"
        if code:
            return f"refused, but {name!r} is {what}"
        if not name.startswith("out") or "/." in name:
            return f"{name!r} is {what}"
    return None
