"""Sixteen threads on sessions of the provider, for sanitisers: `python provider_stress.py ROUNDS`.

Fresh sessions are read at once; sessions are made, run, fail and end in threads.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def main(rounds: int) -> None:
    """Run the stress that many times."""
    path = Path(__file__).parent / "runtime/provider/test_concurrent_reads.py"
    spec = importlib.util.spec_from_file_location("reads", path)
    assert spec is not None and spec.loader is not None
    reads: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reads)
    for name in reads.TEXTS:
        content = reads.model(name)
        for _ in range(rounds):
            reads.check_reads(name, reads.make_session(content, quiet=True), content)
    content, feeds = reads.model("several"), reads.feeds("several")

    def work(chip: int) -> None:
        for _ in range(rounds):
            session = reads.make_session(content, chip=chip, quiet=True)
            session.run(None, feeds)
            with suppress(Exception):
                session.run(None, {**feeds, "x": np.zeros((2, 3), np.float32)})

    reads.at_once(work)
    print("done")


if __name__ == "__main__":
    main(int(sys.argv[1]))
