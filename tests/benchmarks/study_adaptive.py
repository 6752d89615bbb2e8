"""How much `--adaptive` saves: LeNet-5 on rram4 at several sigma, 300 and 10,000 chips.

Two parts. `table` runs some chips on all images, image by image, and plays the elimination over
many orders of the images on them: how large a share of the chip-images it runs, with and without
hard images first, and whether the lowest chips were right. Populations larger than the table are
drawn from it with replacement. `run` is the real thing: chips of the engine, run only as far as
they are asked for.

Images: the `digits` test split, each moved at random many times as in training (`--data SPEC` takes
others). What is done is kept in build/study_adaptive, so a killed study goes on where it was.

Usage: python tests/benchmarks/study_adaptive.py table|run [--sigmas 0.1,0.2,0.3] [--chips N]
           [--images 10000] [--data SPEC] [--orders 10] [--jobs J] [--docs]
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from figures import figures, keep, lacking, parser, records
from figures import table as markdown
from numpy.typing import NDArray

from nvmc.compiled.artifact import open_compiled
from nvmc.compiler import compile_model
from nvmc.data import Dataset, load_data
from nvmc.evaluation.population import Threads, Workload
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target, load_device
from nvmc.metrics.accuracy import Accuracy
from nvmc.models import resolve_model
from nvmc.models.augment import Affine
from nvmc.runtime.montecarlo import ChipSession, Feed, Span, outputs_of
from nvmc.statistics import highest_rank, percentile_of_lowest
from nvmc.statistics.adaptive import Eliminated, Elimination, Work, hard_first

ROOT = Path(__file__).resolve().parents[2] / "build" / "study_adaptive"
TARGET = Target.of(load_device("rram4"))
BLOCK = 50
"""Chips a file of the table."""
HARD = 0.02
"""Share of the images that come first."""

Bits = NDArray[np.bool_]


def images(count: int, spec: str | None) -> Dataset:
    """Labelled images."""
    if spec is not None:
        return load_data(spec, limit=count)
    digits = load_data("digits", "test")
    chosen = np.arange(count) % len(digits.x)
    generator = torch.Generator().manual_seed(1)
    x = Affine()(torch.from_numpy(digits.x[chosen]), generator).numpy()
    assert digits.y is not None
    return Dataset(f"moved digits, {count}", x, digits.y[chosen])


def workload_of(dataset: Dataset) -> tuple[Workload, NDArray[np.float64]]:
    """LeNet-5 on the images as chips run them, and the ideal chip's margin on each."""
    folder = ROOT / "lenet5.nvmc"
    if not folder.exists():
        ROOT.mkdir(parents=True, exist_ok=True)
        compile_model(resolve_model("zoo:lenet5-digits"), TARGET, output=folder)
    workload = set_up(open_compiled(folder), TARGET, data=dataset)
    scores = outputs_of(workload.network, workload.feed, Chip.ideal()).astype(np.float64)
    labels = labels_of(workload)
    own = np.take_along_axis(scores, labels[:, None], 1)[:, 0]
    np.put_along_axis(scores, labels[:, None], -np.inf, 1)
    return workload, own - scores.max(axis=1)


def labels_of(workload: Workload) -> NDArray[np.integer[Any]]:
    """The labels in the order in which the workload runs the images."""
    labels = workload.metric.classes
    assert labels is not None
    return labels


def chip(index: int, sigma: float) -> Chip:
    """Chip `index` of population 0."""
    return Chip.of(TARGET, 0, index, sigma, None)


def made_at(what: str, name: str, sigma: float) -> Path:
    """Where date and commit of each part are kept."""
    return ROOT / f"{what}-{name}-{sigma}.made.jsonl"


def table(
    workload: Workload, labels: NDArray[np.integer[Any]], sigma: float, chips: int, name: str
) -> Bits:
    """Which images every chip gets right, shape (chips, images)."""
    blocks: list[Bits] = []
    for first in range(0, chips, BLOCK):
        path = ROOT / f"hits-{name}-{sigma}-{first}.npy"
        if not path.exists():
            started = time.perf_counter()
            rows = [
                np.argmax(ChipSession(workload.network, chip(k, sigma)).outputs(workload.feed), 1)
                == labels
                for k in range(first, first + BLOCK)
            ]
            np.save(ROOT / "part.npy", np.packbits(rows, axis=1))
            (ROOT / "part.npy").replace(path)
            keep(made_at("hits", name, sigma), {"first": first})
            print(
                f"{path.name}: {(time.perf_counter() - started) / BLOCK:.3f} s per chip", flush=True
            )
        blocks.append(np.unpackbits(np.load(path), axis=1, count=len(labels)).astype(bool))
    return np.concatenate(blocks)[:chips]


def played(hits: Bits, hard: int, k: float) -> tuple[Eliminated, bool]:
    """An elimination answered from a table, and whether its lowest chips are right."""
    sums = np.cumsum(hits, axis=1, dtype=np.int32)
    chips, count = hits.shape
    rank = highest_rank(chips, k)
    elimination = Elimination(chips, count, rank=rank, hard=hard)
    while (work := elimination.next()) is not None:
        end = work.first + work.count
        for position in work.chips:
            elimination.add(position, end, float(sums[position, end - 1]))
    found = elimination.result()
    done = np.sort(found.totals[~np.isnan(found.totals)])
    return found, bool(np.array_equal(done[:rank], np.sort(sums[:, -1])[:rank]))


def populations(hits: Bits, orders: int) -> Iterator[tuple[str, int, NDArray[np.int64]]]:
    """Name, seed and chips of the populations that are played."""
    for seed in range(orders):
        first = 300 * seed % (len(hits) - len(hits) % 300 or 300)
        yield "300", seed, np.arange(first, min(first + 300, len(hits)))
    yield str(len(hits)), 0, np.arange(len(hits))
    yield "10000, drawn", 0, np.random.default_rng(0).integers(0, len(hits), 10_000)


def play(
    sigma: float, hits: Bits, margins: NDArray[np.float64], orders: int, k: float
) -> list[list[str]]:
    """What the elimination takes on a table, as rows; that its lowest chips are right."""
    rows: list[list[str]] = []
    total = hits.sum(axis=1)
    apart = np.median(total) - np.sort(total)[len(total) // 100]
    for share in (0.0, HARD):
        fractions: dict[str, list[float]] = {}
        wrong = 0
        for name, seed, chips in populations(hits, orders):
            order = np.random.default_rng(seed).permutation(hits.shape[1])
            put, hard = hard_first(margins[order], round(share * hits.shape[1]))
            found, right = played(hits[np.ix_(chips, order[put])], hard, k)
            fractions.setdefault(name, []).append(found.fraction)
            wrong += not right
        if wrong:
            raise SystemExit(f"sigma {sigma:g}: {wrong} populations have other lowest chips")
        start = (
            ["", "", f"{100 * share:.0f} %"] if share else [f"{sigma:g}", f"{apart:.0f}", "none"]
        )
        rows.append([*start, *(spread(found) for found in fractions.values())])
        print(rows[-1], flush=True)
    return rows


def spread(shares: list[float]) -> str:
    """Mean in %, and the range of several."""
    low, high = 100 * min(shares), 100 * max(shares)
    several = f" ({low:.0f} to {high:.0f})" if len(shares) > 1 else ""
    return f"{100 * np.mean(shares):.0f} %{several}"


def run(
    workload: Workload,
    labels: NDArray[np.integer[Any]],
    margins: NDArray[np.float64],
    sigma: float,
    chips: int,
    k: float,
    jobs: int | None,
    name: str,
) -> list[str]:
    """The row of a population run as far as is asked for; totals are kept as they come."""
    count = len(labels)
    order, hard = hard_first(margins, round(HARD * count))
    feed = Feed({key: x[order] for key, x in workload.feed.inputs.items()})
    workload = replace(workload, feed=feed, metric=Accuracy(labels[order]))
    path = ROOT / f"run-{name}-{sigma}.jsonl"
    known: dict[int, dict[int, float]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        position, end, total = json.loads(line)
        if position < chips:
            known.setdefault(position, {})[end] = total
    elimination = Elimination(chips, count, rank=highest_rank(chips, k), hard=hard, known=known)
    started, ran = time.perf_counter(), 0

    def put(log: TextIO, work: Work, place: int, total: float) -> None:
        position, end = work.chips[place], work.first + work.count
        total += elimination.total(position, work.first)
        elimination.add(position, end, total)
        log.write(json.dumps([position, end, total]) + "\n")

    with path.open("a") as log:
        while (work := elimination.next()) is not None:
            if not ran:
                keep(made_at("run", name, sigma), {"first": work.first})
            print(f"  {len(work.chips)} chips on {work.count} images from {work.first}", flush=True)
            asked = [chip(position, sigma) for position in work.chips]
            span = Span(work.first, work.count)
            Threads(jobs).totals(workload, asked, span, partial(put, log, work))
            log.flush()
            ran += len(asked) * work.count
    found, seconds = elimination.result(), time.perf_counter() - started
    done_hits = found.totals[~np.isnan(found.totals)]
    print(f"  {seconds:.0f} s for {ran / count:.0f} chips' images", flush=True)
    kpp = percentile_of_lowest(done_hits / count, chips, k)
    share = f"{100 * found.fraction:.1f} %"
    return [f"{sigma:g}", f"{chips:,}", share, f"{found.dropped:,}", f"{100 * kpp.value:.2f} %"]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("part", choices=["table", "run"])
    options.add_argument("--sigmas", default="0.1,0.2,0.3")
    options.add_argument("--chips", type=int, help="1000 for a table, 10000 for a run")
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--data")
    options.add_argument("--orders", type=int, default=10)
    options.add_argument("--percentile", type=float, default=1.0)
    options.add_argument("--jobs", type=int)
    given = options.parse_args()
    dataset = images(given.images, given.data)
    workload, margins = workload_of(dataset)
    labels, name = labels_of(workload), dataset.sha256[:8]
    print(f"{dataset.name}, {len(dataset.x)} images; ideal chip {workload.ideal:.4f}")
    rows, made, missing = list[list[str]](), list[dict[str, Any]](), ""
    k, chips = given.percentile, given.chips or (1000 if given.part == "table" else 10_000)
    for sigma in map(float, given.sigmas.split(",")):
        print(f"sigma {sigma}", flush=True)
        if given.part == "table":
            hits = table(workload, labels, sigma, chips, name)
            rows += play(sigma, hits, margins, given.orders, k)
            made += (kept := records(made_at("hits", name, sigma)))
            missing = missing or lacking(-(-chips // BLOCK), len(kept))
        else:
            rows.append(run(workload, labels, margins, sigma, chips, k, given.jobs, name))
            made += records(made_at("run", name, sigma))
    if given.part == "table":
        head = ["σ_d", "median − KPP, images", "hard first", "300 chips", f"{chips:,}"]
        shown = markdown([*head, "10,000 drawn"], rows)
        figures(__file__, "played", shown, missing=missing, made=made)
    else:
        head = ["σ_d", "chips", "run", "dropped", "KPP"]
        figures(__file__, "run", markdown(head, rows), made=made)


if __name__ == "__main__":
    main()
