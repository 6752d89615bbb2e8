"""Training methods on MNIST at equal budget: TRICE's Table I with the default beside it.

LeNet-5 or the perceptron of the zoo from random weights (named by the seed), 4 epochs of 50,000
images, 128 a step, AdamW, a cosine from `RATE`, which is the best of four for plain training and
for noise injection. The weights of the last epoch are taken; KPPs are taken in training by methods
that need them. Every row is trained for the sigma (PCM: the time) that it is judged at, on the same
chips and the first test images.

Each job is a line of records/study_mnist.jsonl, so a killed run goes on where it was; trained
networks stay in build/study_mnist. What does not depend on sigma is trained once a seed.

Usage: python tests/benchmarks/study_mnist.py mnist:DIR --of lenet5 [--docs]
       python tests/benchmarks/study_mnist.py mnist:DIR [--rows 'erm;hwa'] [--device rram4]

`--of` runs what a table of docs/methods/which.md is made of; without it, what the options say.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from figures import figures, keep, lacking, parser, record_file, records, table

ROOT = Path(__file__).resolve().parents[2] / "build"
RATE = 6e-3
DAY, YEAR = 86_400.0, 31_557_600.0
CELLS: dict[str, tuple[float, ...]] = {
    "rram4": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
    "fefet1": (0.2, 0.4, 0.8),
    "fefet2": (0.2, 0.4, 0.8),
    "pcm-joshi2020": (DAY, YEAR),
}
"""Device -> what chips are judged at: sigma; of PCM seconds since programming."""


@dataclass(frozen=True)
class Row:
    """A way to train: a method, its options, settings that differ, how weights get their scales.

    taught: By the network of the same seed that row "erm" trained: run that row first.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    per_channel: bool = False
    taught: bool = False


ROWS: dict[str, Row] = {
    "erm": Row("erm"),
    "erm, clipped": Row("erm", settings={"clip": 1.5}),
    "gaussian": Row("gaussian"),
    "gaussian, clipped": Row("gaussian", settings={"clip": 1.5}),
    "rc-gaussian": Row("rc-gaussian"),
    "trice": Row("trice", {"warm": 1}, {"chips": 100}),
    "hwa": Row("hwa"),
    "hwa, noise x0.5": Row("hwa", {"strength": 0.5}),
    "hwa, noise x1.25": Row("hwa", {"strength": 1.25}),
    "hwa, noise x2": Row("hwa", {"strength": 2.0}),
    "hwa, noise at once": Row("hwa", {"rise": 0.0}),
    "hwa, no clip": Row("hwa", settings={"clip": None}),
    "hwa, clip 1.25": Row("hwa", settings={"clip": 1.25}),
    "hwa, clip 2": Row("hwa", settings={"clip": 2.0}),
    "hwa, learned widths": Row("hwa", settings={"clip": "learned"}),
    "hwa, no average": Row("hwa", {"average": 0.0}),
    "hwa, rate 0.001": Row("hwa", settings={"rate": 1e-3}),
    "hwa, per channel": Row("hwa", per_channel=True),
    "hwa, taught": Row("hwa", taught=True),
    "erm, rate 0.001": Row("erm", settings={"rate": 1e-3}),
    "gaussian, rate 0.001": Row("gaussian", settings={"rate": 1e-3}),
    "lc-gaussian": Row("lc-gaussian"),
    "rt-gaussian": Row("rt-gaussian"),
    "lt-gaussian": Row("lt-gaussian"),
    "a-trice": Row("a-trice", {"warm": 1}, {"chips": 100}),
    "awp": Row("awp"),
    "bayes-noise": Row("bayes-noise"),
    "bayesft": Row("bayesft"),
    "correctnet": Row("correctnet"),
    "ftna": Row("ftna"),
    "invnorm": Row("invnorm", {"active": False}),
    "neft": Row("neft"),
    "reram-v": Row("reram-v"),
    "spatial-spindrop": Row("spatial-spindrop", {"active": False}),
    "spindrop": Row("spindrop", {"active": False}),
}
SIGMA_FREE = ("awp", "erm", "ftna", "invnorm", "spatial-spindrop", "spindrop")


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        columns: Title -> device, sigma (or seconds), what chips do against their noise.
        rows: Row -> its title.
        network: That is trained.
        ideal: Title of the column of ideal chips, if there is one.
        seconds: Whether the time of a training is shown.
    """

    columns: dict[str, tuple[str, float, str]]
    rows: dict[str, str]
    network: str = "lenet5"
    ideal: str = ""
    seconds: bool = False


_MAIN = {
    "erm": "`erm`",
    "erm, clipped": "`erm --clip 1.5`",
    "gaussian": "`gaussian`",
    "gaussian, clipped": "`gaussian --clip 1.5`",
    "hwa": "`hwa`",
}
_OTHERS = (
    *("lc-gaussian", "neft", "lt-gaussian", "rt-gaussian", "trice", "spatial-spindrop"),
    *("rc-gaussian", "a-trice", "bayes-noise", "ftna", "correctnet", "awp", "spindrop"),
    *("bayesft", "invnorm", "reram-v"),
)
_CLIPPED = {row: title for row, title in _MAIN.items() if row != "gaussian"}
_PCM = "pcm-joshi2020"
TABLES = {
    "lenet5": Table(
        {"σ 0.4": ("rram4", 0.4, ""), "0.8": ("rram4", 0.8, "")},
        {**_MAIN, **{row: f"`{row}`" for row in _OTHERS}},
        ideal="ideal chip at σ 0.4, 0.8",
        seconds=True,
    ),
    "sigmas": Table(
        {"σ 0.1": ("rram4", 0.1, ""), "0.6": ("rram4", 0.6, "")},
        _MAIN,
        ideal="ideal chip at σ 0.1, 0.6",
    ),
    "perceptron": Table(
        {title: ("rram4", at, "") for title, at in (("σ 0.2", 0.2), ("0.4", 0.4), ("0.8", 0.8))},
        _MAIN,
        network="mlp3",
    ),
    "fefet": Table(
        {
            f"`{device}` σ {at}": (device, at, "")
            for device in ("fefet1", "fefet2")
            for at in (0.4, 0.8)
        },
        {**_CLIPPED, "hwa, noise x1.25": "`hwa`, `strength` 1.25"},
    ),
    "perceptron-fefet": Table(
        {
            f"`{device}` σ {at}": (device, at, "")
            for device in ("fefet1", "fefet2")
            for at in (0.4, 0.8)
        },
        _CLIPPED,
        network="mlp3",
    ),
    "pcm": Table(
        {
            "a day": (_PCM, DAY, ""),
            "a year": (_PCM, YEAR, ""),
            "a day, drift": (_PCM, DAY, "drift"),
            "a year, drift": (_PCM, YEAR, "drift"),
        },
        _CLIPPED,
        ideal="ideal chip",
        seconds=True,
    ),
    "parts": Table(
        {"KPP": ("rram4", 0.8, "")},
        {
            "hwa": "`hwa`",
            "hwa, no average": "without the average of weights",
            "hwa, noise at once": "noise at full strength from the start",
            "hwa, per channel": "a scale per channel",
            "hwa, taught": "with a teacher (the `erm` network of the seed)",
            "hwa, rate 0.001": "rate 0.001 instead of 0.006",
            "hwa, no clip": "without clipping",
        },
        ideal="ideal chip",
    ),
}


@dataclass(frozen=True)
class Job:
    """One cell of a table."""

    row: str
    network: str
    device: str
    at: float
    seed: int
    epochs: int
    chips: int
    images: int
    compensate: str = ""

    @property
    def path(self) -> Path:
        """The trained network."""
        free = ROWS[self.row].method in SIGMA_FREE or self.strength is None
        strength = "" if free else f"-{self.at:g}"
        name = f"{self.row}-{self.network}-{self.device}{strength}-{self.seed}-{self.epochs}"
        return ROOT / "study_mnist" / f"{name.replace(' ', '').replace(',', '-')}.onnx"

    @property
    def strength(self) -> float | None:
        """The sigma of the cells; PCM has its own."""
        return None if self.device.startswith("pcm") else self.at


def run(job: Job, data: str) -> dict[str, Any]:
    """Train, unless that was done already, and evaluate."""
    import torch

    from nvmc.compiler import compile_model
    from nvmc.evaluation.simulation import simulate
    from nvmc.hardware.devices import Target

    torch.set_num_threads(1)
    target = Target.of(job.device, per_channel=ROWS[job.row].per_channel)
    notes = training(job, target, data)
    ages = [job.at] if job.device.startswith("pcm") else None
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_model(job.path, target, output=Path(folder) / "net.nvmc")
        found = simulate(
            compiled,
            runs=job.chips,
            data=data,
            limit=job.images or None,
            sigma=job.strength,
            times_s=ages,
            seed=job.seed,
            jobs=1,
            compensate=[job.compensate] if job.compensate else [],
        )
    summary = {"ideal": found.ideal, "mean": found.summary.mean, "kpp": found.kpp.value}
    return {**asdict(job), **summary, **notes}


def training(job: Job, target: Any, data: str) -> dict[str, Any]:
    """What training found; trains the network where that was not done yet."""
    from nvmc.models import resolve_model
    from nvmc.training import Settings, make_method, make_task, train

    notes = job.path.with_suffix(".json")
    if notes.exists():
        return json.loads(notes.read_text())
    row = ROWS[job.row]
    plain = {"epochs": job.epochs, "init": "random", "every": 0, "keep": "last", "rate": RATE}
    few = {} if "chips" in row.settings else {"chips": 2, "percentile": 50.0}
    own = {"seed": job.seed, **few}
    settings = Settings.model_validate({**plain, **own, **row.settings})
    task = make_task(
        data,
        target,
        sigma=job.strength,
        settings=settings,
        validation_limit=1000,
        teacher=replace(job, row="erm").path if row.taught else None,
    )
    started = time.process_time()
    outcome = train(
        resolve_model(f"zoo:{job.network}-digits"),
        task,
        make_method(row.method, row.options),
        output=job.path,
    )
    found = {"cpu_seconds": time.process_time() - started, "summary": outcome.summary}
    notes.write_text(json.dumps(found))
    return found


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """What names a record."""
    return tuple(record.get(name, "") for name in Job.__dataclass_fields__)


def shown(found: list[dict[str, Any]], wanted: Table, seeds: int) -> str:
    """KPPs in %, means over seeds with the spread of several; how many, where some are missing."""
    head = ["", *([wanted.ideal] if wanted.ideal else []), *wanted.columns]
    rows: list[list[str]] = []
    for row, title in wanted.rows.items():
        own = [r for r in found if r["row"] == row]
        at = [
            [r for r in own if (r["device"], r["at"], r.get("compensate", "")) == column]
            for column in wanted.columns.values()
        ]
        ideal = [f"{100 * statistics.mean(r['ideal'] for r in each):.1f}" for each in at if each]
        cells = [", ".join(dict.fromkeys(ideal))] if wanted.ideal else []
        cells += [_cell([r["kpp"] for r in each], seeds) for each in at]
        if wanted.seconds:
            cells.append(f"{statistics.median(r['cpu_seconds'] for r in own):.0f}" if own else "")
        rows.append([title, *cells])
    return table([*head, *(["s, one core"] if wanted.seconds else [])], rows)


def _cell(values: list[float], seeds: int) -> str:
    if not values:
        return ""
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    few = f" ({len(values)})" if len(values) < seeds else ""
    return f"{100 * statistics.mean(values):.1f}{spread}{few}"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data", help="mnist:DIR")
    options.add_argument("--of", choices=list(TABLES), help="a table of the page")
    options.add_argument("--rows", default=";".join(ROWS), help="separated by ;")
    options.add_argument("--network", default="lenet5")
    options.add_argument("--device", default="rram4", choices=list(CELLS))
    options.add_argument("--at", help="sigmas, or seconds  [default: those of the device]")
    options.add_argument("--seeds", default="0,1,2")
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--chips", type=int, default=200)
    options.add_argument("--images", type=int, default=1000, help="0: all")
    options.add_argument("--compensate", default="", help="what chips do against their noise")
    options.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    chosen = options.parse_args()
    at = [float(t) for t in chosen.at.split(",")] if chosen.at else CELLS[chosen.device]
    wanted = Table(
        {f"{chosen.device} {where:g}": (chosen.device, where, chosen.compensate) for where in at},
        {row: row for row in chosen.rows.split(";")},
        network=chosen.network,
        ideal="ideal",
        seconds=True,
    )
    wanted = TABLES[chosen.of] if chosen.of else wanted
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    budget = (chosen.epochs, chosen.chips, chosen.images)
    jobs = [
        Job(row, wanted.network, device, where, seed, *budget, compensate)
        for seed in seeds
        for row in wanted.rows
        for device, where, compensate in wanted.columns.values()
    ]
    path = record_file(__file__)
    (ROOT / "study_mnist").mkdir(parents=True, exist_ok=True)
    done = {key(record) for record in records(path)}
    for job in jobs if not chosen.table else []:
        if key(asdict(job)) not in done:
            keep(path, run(job, chosen.data))
    known = {key(record): record for record in records(path)}
    own = [known[name] for job in jobs if (name := key(asdict(job))) in known]
    missing = lacking(len(jobs), len(own)) if chosen.of else "it is no table of a page"
    figures(__file__, chosen.of or "", shown(own, wanted, len(seeds)), missing=missing, made=own)


if __name__ == "__main__":
    main()
