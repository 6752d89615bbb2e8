"""What there is to do for an experiment: cells of its table, each with a file of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nvmc.data import without_folder
from nvmc.errors import DataError, OptionError
from nvmc.hardware.chip import PHYSICS
from nvmc.reproduce.drawn import DRAWN, drawn_data
from nvmc.reproduce.experiment import Arm, Experiment, Point
from nvmc.reproduce.table import SOURCES

__all__ = ["Budget", "Cell", "Plan", "make_plan", "quick_training"]


DEFAULTS: Mapping[str, Any] = {"batch": 128, "rate": "auto"}
"""Of `nvmc train`, for `Quick.settings`; a test holds them: importing them imports torch."""


@dataclass(frozen=True)
class Budget:
    """What an experiment is run with.

    Attributes:
        data: What `--data` calls the data set.
        stated: What people call it.
        network: A key of `NETWORKS`.
        epochs: Of training.
        chips: At each point.
        seeds: Trainings.
        images: Test images; 0 for all.
        passes: Of networks that draw at inference.
    """

    data: str
    stated: str
    network: str
    epochs: int
    chips: int
    seeds: int
    images: int
    passes: int

    @property
    def text(self) -> str:
        """In a line, beside every number."""
        chips = "1 chip" if self.chips == 1 else f"{self.chips} chips"
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{self.stated}, {epochs}, {chips}, {seeds}"


@dataclass(frozen=True)
class Cell:
    """One number: an arm at a point, of one training.

    Attributes:
        arm: How it is trained.
        point: What it is judged at.
        seed: Of training, and of the chips.
        training: File of the trained network, which cells of several points may share.
        found: File of what was found.
    """

    arm: Arm
    point: Point
    seed: int
    training: Path
    found: Path

    def result(self) -> dict[str, Any]:
        """What was found.

        Raises:
            OptionError: The file is damaged.
        """
        try:
            kept: Any = json.loads(self.found.read_text())
            numbers = {name: float(kept[name]) for name in ("value", "spread", "ideal")}
            return {**kept, **numbers, "guess": float(kept.get("guess", 0.0))}
        except (ValueError, KeyError, TypeError):
            raise OptionError(
                f"{self.found} is damaged: expected JSON with a value, its spread and the ideal "
                "chip's; remove it, and it is found again"
            ) from None


@dataclass(frozen=True)
class Plan:
    """An experiment with all that decides its numbers.

    Attributes:
        experiment: What is done again.
        budget: What it is run with.
        quick: Whether it is shown on what is at hand only.
        cells: Every number, in the order in which they are found.
    """

    experiment: Experiment
    budget: Budget
    quick: bool
    cells: tuple[Cell, ...]

    @property
    def folder(self) -> Path:
        """Where its trained networks and results are: a folder of its own."""
        return self.cells[0].found.parent

    @property
    def stem(self) -> str:
        """Name of its CSV and page without ending; that of another number of trainings differs."""
        usual = 1 if self.quick else self.experiment.seeds
        few = "" if self.budget.seeds == usual else f"-seeds{self.budget.seeds}"
        return f"{self.experiment.name}{'-quick' if self.quick else ''}{few}"

    @property
    def points(self) -> tuple[Point, ...]:
        """The points that are run."""
        return tuple(dict.fromkeys(cell.point for cell in self.cells))

    @property
    def changed(self) -> tuple[str, ...]:
        """What is not as in the full experiment, in words; empty if nothing is."""
        full = _full(self.experiment, "", "")
        told = [
            f"{name}: {mine} in place of {theirs}"
            for name, mine, theirs in (
                ("data", self.budget.stated, self.experiment.data),
                ("network", self._network(), self.experiment.network),
                ("epochs", self.budget.epochs, full.epochs),
                ("chips", self.budget.chips, full.chips),
                ("trainings", self.budget.seeds, full.seeds),
                ("points", len(self.points), len(self.experiment.points)),
                ("test images", self.budget.images or "all", "all"),
                *([("passes", self.budget.passes, full.passes)] if self._draws() else []),
                *self._training(),
            )
            if str(mine) != str(theirs) and not (name == "data" and not self.quick)
        ]
        return tuple(told)

    def _draws(self) -> bool:
        return any(arm.draws for arm in self.experiment.arms)

    def _training(self) -> list[tuple[str, Any, Any]]:
        """What `quick_training` changes of training."""
        found: list[tuple[str, Any, Any]] = []
        for arm in self.experiment.arms if self.quick else ():
            settings = {**self.experiment.settings, **arm.settings}
            options, own = quick_training(arm.options, settings, self.experiment.quick.settings)
            full = {**{name: DEFAULTS[name] for name in own if name not in settings}, **settings}
            for name, theirs in (*arm.options.items(), *full.items()):
                mine = {**options, **own}.get(name, "none")
                if str(mine) != str(theirs):
                    found.append((f"{arm.name}'s {name} in training", mine, theirs))
        return _shared(found)

    def _network(self) -> str:
        build: Mapping[str, Any] = self.experiment.quick.build if self.quick else {}
        inside = ", ".join(f"{key}={value}" for key, value in build.items())
        return f"{self.budget.network} ({inside})" if inside else self.budget.network


def quick_training(
    options: Mapping[str, Any], settings: Mapping[str, Any], quick: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a method and settings of training under `--quick`: few chips, no augmentation.

    Trials are short, so that few epochs hold more of them than the first, which are random.
    """
    few = {name: least for name, least in {"warm": 1, "interval": 2}.items() if name in options}
    kept = {key: value for key, value in settings.items() if key != "augment"}
    few_chips = {"chips": 20} if "chips" in kept else {}
    return {**options, **few}, {**kept, **few_chips, **quick}


def _shared(changes: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """Changes that several arms share, once."""
    found: dict[str, tuple[str, Any, Any]] = {}
    for name, mine, theirs in changes:
        what = name.partition("'s ")[2]
        key = f"{what} {mine} {theirs}"
        found[key] = (what if key in found else name, str(mine), str(theirs))
    return list(found.values())


def make_plan(
    experiment: Experiment, data: Sequence[str], folder: Path, quick: bool, **own: int | None
) -> Plan:
    """The plan of an experiment.

    Args:
        experiment: Of the table.
        data: Data sets that the user has, as `mnist:DIR`.
        folder: Where files go; it exists.
        quick: Whether to show it on what is at hand.
        **own: `epochs`, `chips`, `seeds` or `images` instead of the table's; None leaves it.

    Raises:
        DataError: The data set was not given; the line says where to get it.
        OptionError: Data of another kind were given.
    """
    if quick and data:
        raise OptionError(
            f"--data {data[0]} is given beside --quick, which shows {experiment.name} on "
            f"{experiment.quick.data}; leave one of the two out"
        )
    budget = _quick(experiment, folder)
    if not quick:
        boxes = experiment.trainer == "boxes"
        own_data = budget.data if boxes else _given(experiment, data)
        stated = budget.stated if boxes else own_data.partition(":")[0]
        budget = _full(experiment, own_data, stated)
    changes = {key: value for key, value in own.items() if value is not None}
    budget = replace(budget, **changes)
    points = _shown(experiment) if quick else experiment.points
    identity = _identity(experiment, budget, quick)
    cells = [
        _cell(experiment, arm, point, seed, folder / identity)
        for seed in range(budget.seeds)
        for arm in experiment.arms
        for point in points
    ]
    return Plan(experiment, budget, quick, tuple(cells))


def _cell(experiment: Experiment, arm: Arm, point: Point, seed: int, folder: Path) -> Cell:
    name = f"{_plain(arm.name)}-seed{seed}"
    told = experiment.trained_at is None and not arm.once
    training = f"{name}-{_plain(point.text)}" if told else name
    found = folder / f"{name}-{_plain(point.text)}.json"
    return Cell(arm, point, seed, folder / f"{training}.onnx", found)


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() or c == "." else "-" for c in text)


def _full(experiment: Experiment, data: str, stated: str) -> Budget:
    return Budget(
        data,
        stated,
        experiment.network,
        experiment.epochs,
        experiment.chips,
        experiment.seeds,
        0,
        experiment.passes,
    )


def _quick(experiment: Experiment, folder: Path) -> Budget:
    quick = experiment.quick
    drawn = f"{quick.data} (drawn)" if quick.data in DRAWN else quick.data
    return Budget(
        drawn_data(quick.data, folder),
        drawn,
        quick.network or experiment.network,
        quick.epochs,
        quick.chips,
        1,
        quick.images,
        min(experiment.passes, 3),
    )


def _shown(experiment: Experiment) -> tuple[Point, ...]:
    """Some points of each grid, the first and the last among them."""
    most, found = experiment.quick.points, list[Point]()
    for grid in experiment.grids:
        count = len(grid.points)
        few = min(most or count, count)
        places = {round(k * (count - 1) / max(few - 1, 1)) for k in range(few)}
        found += [grid.points[place] for place in sorted(places)]
    return tuple(found)


def _given(experiment: Experiment, data: Sequence[str]) -> str:
    """The data set that the experiment needs, of those that were given."""
    kind, _, rest = experiment.data.partition(":")
    for spec in data:
        if spec.partition(":")[0].partition(",")[0] == kind:
            wanted = rest.partition(",")[2]
            return spec if not wanted or "," in spec else f"{spec},{wanted}"
    if kind not in SOURCES:
        return experiment.data
    if data:
        raise OptionError(
            f"{experiment.name} needs {experiment.data}, but --data is {', '.join(data)}; get "
            f"{SOURCES[kind]}"
        )
    raise DataError(
        f"{experiment.name} needs --data {experiment.data}: {SOURCES[kind]}; --quick shows it on "
        f"{experiment.quick.data} instead"
    )


def _identity(experiment: Experiment, budget: Budget, quick: bool) -> str:
    """Name of the folder: another for everything that decides a training.

    Where the data lie is not in it; `nvmc.reproduce.origin` compares their content.
    """
    named = budget.data.partition(":")[0] == budget.stated
    data = without_folder(budget.data) if named else budget.stated
    known: dict[str, Any] = {
        "device": experiment.device,
        "bits": [experiment.weight_bits, experiment.activation_bits, experiment.cell_bits],
        "of_layers": dict(experiment.bits),
        "store": [experiment.per_channel, *experiment.store],
        "metric": [experiment.metric, experiment.measure, experiment.percentile],
        "trained_at": experiment.trained_at,
        "settings": dict(experiment.settings),
        "arms": [
            [a.name, a.method, dict(a.options), dict(a.settings), a.dropout, dict(a.build)]
            for a in experiment.arms
        ],
        "build": dict(experiment.quick.build) if quick else {},
        **(
            {"quick": dict(experiment.quick.settings)}
            if quick and experiment.quick.settings
            else {}
        ),
        "budget": {**asdict(budget), "data": data, "seeds": None},
        "physics": PHYSICS,
    }
    text = json.dumps(known, sort_keys=True, default=str)
    mode = "quick" if quick else "full"
    return f"{experiment.name}-{mode}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
