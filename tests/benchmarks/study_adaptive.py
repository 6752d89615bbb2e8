"""How much `--adaptive` saves: LeNet-5 on rram4 at several sigma, 300 and 10,000 chips.

Two parts. `table` runs some chips on all images, image by image, and plays the elimination over
many orders of the images on them: how large a share of the chip-images it runs, with and without
hard images first, and whether the lowest chips were right. Populations larger than the table are
drawn from it with replacement. `run` is the real thing: chips of the engine, run only as far as
they are asked for.

Images: the `digits` test split, each moved at random many times as in training (`--data SPEC` takes
others). What is done is kept in build/study_adaptive, so a killed study goes on where it was.

Usage: python tests/benchmarks/study_adaptive.py table|run [--sigmas 0.1,0.2,0.3] [--chips N]
           [--images 10000] [--data SPEC] [--orders 10] [--jobs J]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from figures import machine
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


def play(hits: Bits, margins: NDArray[np.float64], orders: int, k: float) -> None:
    """Print what the elimination takes on a table."""
    total = hits.sum(axis=1)
    print(
        f"  hits of {hits.shape[1]}: median {np.median(total):.0f}, standard deviation "
        f"{total.std():.0f}, KPP {np.sort(total)[len(total) // 100]}"
    )
    for share in (0.0, HARD):
        fractions: dict[str, list[float]] = {}
        wrong = 0
        for name, seed, chips in populations(hits, orders):
            order = np.random.default_rng(seed).permutation(hits.shape[1])
            put, hard = hard_first(margins[order], round(share * hits.shape[1]))
            found, right = played(hits[np.ix_(chips, order[put])], hard, k)
            fractions.setdefault(name, []).append(found.fraction)
            wrong += not right
        shown = "; ".join(
            f"{name} chips {np.mean(f):.3f} ({min(f):.3f} to {max(f):.3f})"
            for name, f in fractions.items()
        )
        print(f"  hard {share:.0%}: {shown}; wrong {wrong}", flush=True)


def run(
    workload: Workload,
    labels: NDArray[np.integer[Any]],
    margins: NDArray[np.float64],
    sigma: float,
    chips: int,
    k: float,
    jobs: int | None,
    name: str,
) -> None:
    """Run a population as far as is asked for; totals are kept as they come."""
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

    def keep(log: TextIO, work: Work, place: int, total: float) -> None:
        position, end = work.chips[place], work.first + work.count
        total += elimination.total(position, work.first)
        elimination.add(position, end, total)
        log.write(json.dumps([position, end, total]) + "\n")

    with path.open("a") as log:
        while (work := elimination.next()) is not None:
            print(f"  {len(work.chips)} chips on {work.count} images from {work.first}", flush=True)
            asked = [chip(position, sigma) for position in work.chips]
            span = Span(work.first, work.count)
            Threads(jobs).totals(workload, asked, span, partial(keep, log, work))
            log.flush()
            ran += len(asked) * work.count
    found, seconds = elimination.result(), time.perf_counter() - started
    done_hits = found.totals[~np.isnan(found.totals)]
    print(
        f"  {chips} chips: {found.fraction:.3f} of the chip-images, {found.dropped} dropped, "
        f"{seconds:.0f} s for {ran / count:.0f} chips' images; "
        f"{percentile_of_lowest(done_hits / count, chips, k)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["table", "run"])
    parser.add_argument("--sigmas", default="0.1,0.2,0.3")
    parser.add_argument("--chips", type=int, help="1000 for a table, 10000 for a run")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--data")
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--percentile", type=float, default=1.0)
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    dataset = images(options.images, options.data)
    workload, margins = workload_of(dataset)
    labels, name = labels_of(workload), dataset.sha256[:8]
    print(f"{machine()}; {dataset.name}, {len(dataset.x)} images; ideal chip {workload.ideal:.4f}")
    for sigma in map(float, options.sigmas.split(",")):
        print(f"sigma {sigma}", flush=True)
        k = options.percentile
        if options.part == "table":
            hits = table(workload, labels, sigma, options.chips or 1000, name)
            play(hits, margins, options.orders, k)
        else:
            chips = options.chips or 10_000
            run(workload, labels, margins, sigma, chips, k, options.jobs, name)


if __name__ == "__main__":
    main()
