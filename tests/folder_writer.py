"""A process that compiles stand-ins into a folder, killed or held at one of its system calls.

Arguments: FOLDER TEMPLATE [--fork]. Then a line on standard input for each compilation,
`GENERATION POINT HOLD_S`: before the POINT-th call that changes names on the disk (from 1; 0 for
none) it kills itself where HOLD_S is 0, and otherwise waits as long. It says how many such calls
there were.

With --fork each compilation has a process of its own, and what is said is its wait status.

FOLDER may be an ONNX file too, which is written with its data, as `nvmc program` does.

TEMPLATE is the manifest of a compiled network. A generation is a few short files, whose manifest
is the template with their digests; the model's first line is the name of its data, which
generations with an odd number have.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvmc.compiled.generations import (
    MANIFEST_FILE,
    MODEL_FILE,
    replacing_file,
    replacing_folder,
)

CALLS = ("fsync", "link", "mkdir", "open", "rename", "replace", "rmdir", "unlink")
"""Those of `os` before which a process is killed or held; `open` is that of locks and folders."""


def model_files_of(generation: int, model: str) -> dict[str, bytes]:
    """A model and its data."""
    data = f"weights of {generation}\n".encode()
    name = f"{model}.{hashlib.sha256(data).hexdigest()[:16]}.data" if generation % 2 else ""
    files = {model: f"{name}\nmodel {generation}\n".encode()}
    return {**files, name: data} if name else files


def files_of(generation: int, template: dict[str, Any]) -> dict[str, bytes]:
    """The files of a generation."""
    files = model_files_of(generation, MODEL_FILE)
    files["tiles.json"] = f"tiles {generation}\n".encode()
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
    }
    files[MANIFEST_FILE] = json.dumps({**template, "files": entries}).encode()
    return files


class Point:
    """Counts calls, and kills or holds the process before one of them."""

    def __init__(self) -> None:
        self.count = self.point = 0
        self.hold_s = 0.0
        for name in CALLS:
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.point:
                if not self.hold_s:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(self.hold_s)
            return call(*arguments, **options)

        return counted


def write(folder: Path, generation: int, template: dict[str, Any]) -> None:
    """Compile a stand-in, or write one chip's."""
    if folder.suffix == ".onnx":
        with replacing_file(folder) as temporary:
            for name, content in model_files_of(generation, folder.name).items():
                temporary.with_name(name).write_bytes(content)
        return
    with replacing_folder(folder) as staged:
        for name, content in files_of(generation, template).items():
            (staged / name).write_bytes(content)


if __name__ == "__main__":
    place, template_path = map(Path, sys.argv[1:3])
    forks = sys.argv[3:] == ["--fork"]
    text = json.loads(template_path.read_text())
    point = Point()
    for line in sys.stdin:
        if forks and (child := os.fork()):
            print(os.waitpid(child, 0)[1], flush=True)
            continue
        which, number, hold = line.split()
        point.count, point.point, point.hold_s = 0, int(number), float(hold)
        write(place, int(which), text)
        if forks:
            os._exit(0)
        print(point.count, flush=True)
