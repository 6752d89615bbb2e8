"""A process that fills a store, for tests that kill it, crowd it and take its disk away.

Arguments: STORE FIRST LAST [PAUSE_S|lines]. Chips FIRST … LAST - 1 that are not known get their sum
and are printed once they are kept. After each it pauses, or reads a line from standard input, so
that whoever writes these decides how far it gets. `SEEN` images per chip, sums as irregular as
binary64 has them.
"""

from __future__ import annotations

import math
import sys
import time

from nvmc.store import Experiment, Store

SEEN = 531
KEY = {"network": "3f2a", "seed": 0, "sigma": 0.1}
INFO = {"network": "lenet5.nvmc", "device": "fefet2", "metric": "accuracy"}


def total_of(chip: int) -> float:
    """The sum of a chip: the same in every process."""
    return SEEN * math.sin(chip + 0.1) ** 2


def row_of(chip: int) -> tuple[int, int, float, float]:
    """What is kept of a chip."""
    return chip, SEEN, total_of(chip), total_of(chip) / SEEN


def whole(chips: int) -> dict[int, tuple[int, float]]:
    """What an uninterrupted run of `chips` knows at its end."""
    return {chip: (SEEN, total_of(chip)) for chip in range(chips)}


def fill(experiment: Experiment, first: int, last: int, pause: str) -> None:
    known = experiment.known()
    for chip in range(first, last):
        if chip not in known:
            experiment.add(*row_of(chip))
            print(chip, flush=True)
            if pause == "lines":
                sys.stdin.readline()
            else:
                time.sleep(float(pause))


def complain(trouble: str) -> None:
    print(trouble, file=sys.stderr, flush=True)


if __name__ == "__main__":
    path, first, last, *pause = sys.argv[1:]
    with Store.open(path, on_trouble=complain) as store:
        fill(store.experiment(KEY, INFO), int(first), int(last), *(pause or ["0"]))
        sys.exit(store.unsaved > 0)
