"""TRICE's Table I on `digits`: all training methods, LeNet-5, rram4, 1st-percentile accuracy.

Every training starts from random weights (named by the seed) and gets the same budget: the recipe
of the zoo (docs/zoo.md) with 4-bit weights in 2-bit cells and 4-bit activations as in the paper.
The weights of the last epoch are taken; KPPs are taken in training only by methods that need them.
The test split is seen once, by the finished network's chips, which are the same for all methods.

Each (method, sigma, seed) is a line of records/study_methods.jsonl, so a killed run goes on where
it was; trained networks stay in build/study_methods. A method whose training does not depend on
sigma is trained once a seed.

Usage: python tests/benchmarks/study_methods.py [--methods erm,trice] [--jobs 2] [--docs]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figures import figures, keep, lacking, parser, record_file, records, table

ROOT = Path(__file__).resolve().parents[2] / "build"
SIGMAS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.6, 0.8)
"""Those of the paper, and two beyond its range: `digits` are easier than MNIST."""
FIRST = ("erm", "correctnet", "gaussian", "rc-gaussian", "trice")
"""The columns of the paper's table."""
SIGMA_FREE = ("awp", "erm", "ftna", "invnorm", "spatial-spindrop", "spindrop")
"""Methods whose training knows no noise of the device."""
NEED_KPP = ("a-trice", "trice", "trice-warm30")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {"active": False}) for kind in ("invnorm", "spatial-spindrop", "spindrop")},
    "trice-warm30": ("trice", {"warm": 30}),
}
"""Methods with options: dropout is judged by one pass that drops nothing (the mean of stochastic
passes is study_invnorm's), and TRICE also with a search that begins when the network is trained."""
N_TRAIN = 100
"""Chips of a KPP in training; the paper takes 300, on a GPU."""
RECIPE: dict[str, Any] = {
    "epochs": 60,
    "batch": 64,
    "optimizer": "adamw",
    "rate": 3e-3,
    "decay": 1e-2,
    "schedule": "one-cycle",
    "augment": {"turn": 12, "scale": 0.1, "shift": 2},
    "init": "random",
    "every": 0,
    "keep": "last",
}

PAPER = {
    0.00: ("99.01", "97.99", "98.86", "98.88", "98.94"),
    0.05: ("93.31", "97.56", "97.45", "96.89", "98.08"),
    0.10: ("70.72", "90.66", "95.59", "95.47", "95.99"),
    0.15: ("38.15", "67.70", "87.60", "90.43", "90.58"),
    0.20: ("19.81", "39.54", "66.04", "75.47", "77.82"),
    0.25: ("11.95", "22.26", "40.27", "50.14", "54.12"),
    0.30: ("8.58", "14.26", "23.09", "28.56", "38.51"),
    0.35: ("6.89", "10.83", "14.38", "16.83", "25.29"),
    0.40: ("6.05", "9.23", "10.38", "11.61", "17.94"),
}
"""TRICE, Table I: LeNet on MNIST, 1st-percentile accuracy in %, means of 5 runs, by sigma_d."""
COLUMNS = ("paper: w/o noise", "CorrectNet", "Gauss.", "RC-Manual", "TRICE")


@dataclass(frozen=True)
class Job:
    """One cell of the table."""

    method: str
    sigma: float
    seed: int
    epochs: int
    chips: int

    @property
    def network(self) -> Path:
        """The trained network."""
        strength = "" if self.method in SIGMA_FREE else f"-{self.sigma:g}"
        name = f"{self.method}{strength}-seed{self.seed}-{self.epochs}epochs.onnx"
        return ROOT / "study_methods" / name


def run(job: Job) -> dict[str, Any]:
    """Train, unless that was done already, and evaluate."""
    import torch

    from nvmc.compiler import compile_model
    from nvmc.evaluation.simulation import simulate
    from nvmc.hardware.devices import Target, load_device

    torch.set_num_threads(1)
    target = Target.of(load_device("rram4"))
    trained = training(job, target)
    folder = job.network.with_suffix(f".{os.getpid()}.nvmc")
    compiled = compile_model(job.network, target, output=folder)
    started = time.perf_counter()
    found = simulate(
        compiled, runs=job.chips, data="digits", sigma=job.sigma, seed=job.seed, jobs=1
    )
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return {
        **asdict(job),
        **trained,
        "ideal": found.ideal,
        "mean": found.summary.mean,
        "std": found.summary.std,
        "kpp": found.kpp.value,
        "kpp_low": found.kpp.low,
        "kpp_high": found.kpp.high,
        "simulation_seconds": time.perf_counter() - started,
    }


def training(job: Job, target: Any) -> dict[str, Any]:
    """What the training of the job's network found; trains it where that was not done yet."""
    from nvmc.compiled.options import CompileOptions
    from nvmc.models import resolve_model
    from nvmc.training import Settings, make_method, make_task, train

    notes = job.network.with_suffix(".json")
    if notes.exists():
        return json.loads(notes.read_text())
    chips = N_TRAIN if job.method in NEED_KPP else 1
    settings = Settings.model_validate(
        {**RECIPE, "epochs": job.epochs, "seed": job.seed, "chips": chips}
    )
    options = CompileOptions(activation_bits=4)
    task = make_task("digits", target, sigma=job.sigma, settings=settings, options=options)
    outcome = train(
        resolve_model("zoo:lenet5-digits"),
        task,
        make_method(*VARIANTS.get(job.method, (job.method, {}))),
        output=job.network,
    )
    found = {
        "training_seconds": outcome.seconds,
        "loss": outcome.epochs[-1].loss,
        "validation": outcome.after.ideal,
        "options": outcome.options,
        "summary": outcome.summary,
    }
    notes.write_text(json.dumps(found))
    return found


def pin(free: Any) -> None:
    """Keep a worker on a core of its own: its simulations then have one thread too."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {free.get()})


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """What names a record."""
    return tuple(record[name] for name in ("method", "sigma", "seed", "epochs", "chips"))


def measure(jobs: list[Job], path: Path, workers: int) -> None:
    """Run the jobs that have no record yet, each method's seeds and sigmas in order."""
    done = {key(record) for record in records(path)}
    left = [job for job in jobs if key(asdict(job)) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    (ROOT / "study_methods").mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for worker in range(workers):
        free.put(cores[-1 - worker % len(cores)])
    groups = grouped(left)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=pin, initargs=(free,)
    ) as pool:
        for number, found in enumerate(pool.map(run_all, groups, [path] * len(groups)), 1):
            print(f"{number}/{len(groups)} groups: {found}", flush=True)


def grouped(jobs: list[Job]) -> list[list[Job]]:
    """Jobs that share a trained network, together."""
    groups: dict[Path, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.network, []).append(job)
    return list(groups.values())


def run_all(jobs: list[Job], path: Path) -> str:
    """Run jobs, one after the other; each is a line of `path` as soon as it is done."""
    started = time.perf_counter()
    for job in jobs:
        try:
            found = run(job)
        except Exception as error:  # the others go on without it
            return f"{job}: {type(error).__name__}: {error}"
        keep(path, found)
    first = jobs[0]
    return (
        f"{first.method}, sigma {', '.join(f'{job.sigma:g}' for job in jobs)}, seed {first.seed}: "
        f"{time.perf_counter() - started:.0f} s"
    )


def cell(found: list[dict[str, Any]], seeds: int, value: str = "kpp") -> str:
    """Mean and standard deviation over seeds in %; how many, where some are missing."""
    values = [100 * record[value] for record in found]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    few = f" ({len(values)})" if len(values) < seeds else ""
    return f"{statistics.mean(values):.1f}{spread}{few}"


def report(found: list[dict[str, Any]], wanted: int) -> None:
    """The paper's methods beside its table, then all methods."""
    seeds = len({record["seed"] for record in found})
    missing = lacking(wanted, len(found))
    at: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for record in found:
        at.setdefault((record["method"], record["sigma"]), []).append(record)
    rows = [
        [
            f"{sigma:.2f}",
            *(cell(at.get((method, sigma), []), seeds) for method in FIRST),
            *PAPER.get(sigma, [""] * len(COLUMNS)),
        ]
        for sigma in sorted({sigma for _, sigma in at})
    ]
    shown = table(["σ_d", *FIRST, *COLUMNS], rows)
    figures(__file__, "paper", shown, missing=missing, made=found)
    present = {method for method, _ in at}
    rows = []
    for method in [*(m for m in FIRST if m in present), *sorted(present - set(FIRST))]:
        taken = [r["training_seconds"] for (m, s), own in at.items() for r in own
                 if m == method and s >= 0.2]  # fmt: skip
        last = cell(at.get((method, max(PAPER)), []), seeds, "mean")
        cells = [cell(at.get((method, sigma), []), seeds) for sigma in PAPER]
        rows.append([method, *cells, last, f"{min(taken, default=0):.0f}"])
    head = ["method", *(f"{sigma:.2f}" for sigma in PAPER)]
    head += [f"mean accuracy at {max(PAPER):.2f}", "s per training"]
    figures(__file__, "methods", table(head, rows), missing=missing, made=found)


def main() -> None:
    from nvmc.training import METHODS

    everything = [*FIRST, *(kind for kind in METHODS if kind not in FIRST)]
    asked = parser(__doc__)
    asked.add_argument("--methods", default=",".join(everything))
    asked.add_argument("--sigmas", default=",".join(map(str, SIGMAS)))
    asked.add_argument("--seeds", default="0,1,2")
    asked.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    asked.add_argument("--chips", type=int, default=1000)
    asked.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    asked.add_argument("--records", type=Path, default=record_file(__file__))
    asked.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    options = asked.parse_args()
    methods = options.methods.split(",")
    sigmas = [float(text) for text in options.sigmas.split(",")]
    seeds = [int(text) for text in options.seeds.split(",")]
    jobs = [
        Job(method, sigma, seed, options.epochs, options.chips)
        for seed in seeds
        for method in methods
        for sigma in sigmas
    ]
    if not options.table:
        measure(jobs, options.records, options.jobs)
    wanted = {key(asdict(job)) for job in jobs}
    found = {key(record): record for record in records(options.records)}
    report([record for job, record in found.items() if job in wanted], len(wanted))


if __name__ == "__main__":
    main()
