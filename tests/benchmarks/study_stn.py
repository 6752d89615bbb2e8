"""A spatial transformer on turned MNIST under log-normal drift: BayesFT against plain training.

BayesFT (DAC 2021), Fig. 3i, has such a network on traffic signs; here digits are turned by up to 60
degrees, which no network that ships with nvmc sees upright. Both rows begin with the same random
weights, named by the seed (the transformer as the identity), and have the same epochs; weights of
the last one are taken. Weights drift by e^lambda, lambda ~ N(0, sigma^2); BayesFT searches its
dropout rates at `TRAINED_AT`. Chips are the same for both, and see the first test images.

Each training with its chips at one sigma is a line of records/study_stn.jsonl, so a killed run goes
on where it was; networks stay in build/study_stn. OMP_NUM_THREADS=1 is the setting it was run at.

Usage: python tests/benchmarks/study_stn.py mnist:DIR [--seeds 0,1] [--table] [--docs]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from figures import figures, keep, lacking, parser, record_file, records
from scipy import ndimage

from nvmc import Compiled, Target, compile_model, load_device, open_compiled, simulate
from nvmc.data import load_data
from nvmc.models.initialised import one_thread
from nvmc.models.library import write_untrained
from nvmc.models.networks import NETWORKS
from nvmc.training import Settings, make_method, make_task, train

ROOT = Path(__file__).resolve().parents[2] / "build"
FOLDER = ROOT / "study_stn"
SIGMAS, TRAINED_AT = (0.0, 0.3, 0.6, 0.9), 0.6
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "ERM": ("erm", {}),
    "BayesFT": ("bayesft", {"interval": 2, "initial": 4}),
}
"""Method and options: ten trials of two epochs, four of them at random."""
COUNTS = {"train": 6000, "validation": 500, "test": 500}
EPOCHS, BATCH, CHIPS, TURN = 20, 64, 40, 60.0


def turned(data: str) -> Path:
    """The file of the turned digits, made where it is not there."""
    path = FOLDER / "turned.npz"
    if not path.exists():
        arrays: dict[str, Any] = {}
        for number, (split, count) in enumerate(COUNTS.items()):
            digits = load_data(data, split, count)
            angles = np.random.default_rng(number).uniform(-TURN, TURN, len(digits.x))
            images = [
                ndimage.rotate(image, angle, axes=(1, 2), reshape=False, order=1)
                for image, angle in zip(digits.x, angles, strict=True)
            ]
            arrays[f"x_{split}"] = np.clip(np.asarray(images, np.float32), 0, 1)
            arrays[f"y_{split}"] = np.asarray(digits.y)
        np.savez(path, **arrays)
    return path


def target() -> Target:
    """Cells that hold a weight each, and drift."""
    return Target.of(load_device("reram-lognormal"))


def compiled(data: str, row: str, seed: int, epochs: int) -> Compiled:
    """The network that a row trains, compiled."""
    path = FOLDER / f"{row}-{seed}-{epochs}.onnx"
    if not path.exists():
        source = FOLDER / f"start-{seed}.onnx"
        write_untrained(NETWORKS["stn-mnist"], source, seed)
        own = {"epochs": epochs, "batch": BATCH, "seed": seed, "every": 0, "keep": "last"}
        settings = Settings.model_validate({**own, "chips": 20, "percentile": 5.0})
        task = make_task(turned(data).as_posix(), target(), sigma=TRAINED_AT, settings=settings)
        method, options = ROWS[row]
        train(source, task, make_method(method, options), output=path)
    folder = path.with_suffix(".nvmc")
    if folder.exists():
        return open_compiled(folder)
    return compile_model(path, target(), output=folder)


def measured(data: str, row: str, seed: int, sigma: float, epochs: int) -> dict[str, Any]:
    """Mean, deviation and 5th percentile of chips on the test images."""
    started = time.process_time()
    found = simulate(
        compiled(data, row, seed, epochs),
        runs=CHIPS if sigma else 2,
        data=turned(data).as_posix(),
        sigma=sigma,
        percentile=5.0,
        seed=seed,
        jobs=1,
    )
    own = {"mean": found.summary.mean, "std": found.summary.std, "kpp": found.kpp.value}
    return {**own, "cpu_seconds": time.process_time() - started}


def table(found: list[dict[str, Any]]) -> str:
    """Of each seed: mean ± deviation over chips and the 5th percentile, in %."""
    shown = [row for row in ROWS if any(f["row"] == row for f in found)]
    lines = [f"| accuracy [%] | {' | '.join(shown)} |", f"| --- |{' ---: |' * len(shown)}"]
    for sigma in SIGMAS:
        cells: list[str] = []
        for row in shown:
            at = [f for f in found if f["row"] == row and f["sigma"] == sigma]
            each = [f"{100 * f['mean']:.1f} ± {100 * (f['std'] or 0):.1f}" for f in at]
            cells.append(
                "; ".join(f"{text}, {100 * f['kpp']:.1f}" for text, f in zip(each, at, strict=True))
            )
        lines.append(f"| drift, sigma {sigma:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data", help="mnist:DIR")
    options.add_argument("--seeds", default="0,1")
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--table", action="store_true", help="print the table, measure nothing")
    chosen = options.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, names = record_file(__file__), ("row", "seed", "sigma", "epochs")
    jobs = [
        dict(zip(names, (row, int(seed), sigma, chosen.epochs), strict=True))
        for seed in chosen.seeds.split(",")
        for row in ROWS
        for sigma in SIGMAS
    ]
    done = {tuple(f[name] for name in names) for f in records(path)}
    for job in jobs if not chosen.table else []:
        if tuple(job.values()) not in done:
            with one_thread():
                found = measured(chosen.data, **job)
            keep(path, {**job, **found})
    kept = {tuple(f[name] for name in names): f for f in records(path)}
    own = [kept[tuple(job.values())] for job in jobs if tuple(job.values()) in kept]
    figures(__file__, "drift", table(own), missing=lacking(len(jobs), len(own)), made=own)


if __name__ == "__main__":
    main()
