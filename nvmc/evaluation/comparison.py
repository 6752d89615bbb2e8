"""What a comparison of networks on the same chips found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import as_called, checked
from nvmc.data.items import item_of
from nvmc.evaluation.captions import counts_of, on_device, words_apart
from nvmc.evaluation.description import Description, in_common
from nvmc.evaluation.pictures import draw_comparison
from nvmc.evaluation.records import Elsewhere
from nvmc.evaluation.reported import WithReport
from nvmc.metrics import find_metric
from nvmc.metrics.values import short_of
from nvmc.report.drawn import Drawn
from nvmc.report.figure import Sheet
from nvmc.statistics import Ends, Interval, Kpp, Summary
from nvmc.statistics.paired import KppDifference, MeanDifference, ShareBetter
from nvmc.tables import Cell, Shown, Table, frame_of

__all__ = ["FORMAT", "Against", "Compared", "Comparison"]

FORMAT = "nvmc.evaluation.comparison/1"
WIDE = 12.0
"""Standard errors of a mean: an interval three times as wide as that of normal values."""


@dataclass(frozen=True)
class Against:
    """A network less the first, chip by chip.

    Attributes:
        kpp: Difference of the KPPs.
        mean: Difference of the means.
        better: On how many chips it is better than the first.
        layers: Arrays on crossbars that have the same random numbers in both: of one name and
            shape. Without any, only numbers of chips are in common.
    """

    kpp: KppDifference
    mean: MeanDifference
    better: ShareBetter
    layers: int

    def to_json(self) -> dict[str, Any]:
        """The keys of `against_first` in `--json`."""
        return {
            "kpp_difference": self.kpp.to_json(),
            "mean_difference": self.mean.to_json(),
            "share_better": self.better.to_json(),
            "arrays_in_common": self.layers,
        }


@dataclass(frozen=True)
class Compared:
    """One of the networks.

    Attributes:
        label: What sets it apart: its name, its device, or both.
        description: Network, chips, images, and how they were run.
        ideal: Value of the chip whose every cell is on target.
        values: One value per chip, in chip order, shape (runs,).
        kpp: K-th percentile performance and its intervals.
        summary: Mean, standard deviation, minimum.
        against: It less the first; None for the first.
        elsewhere: Chips that others had found.
    """

    label: str
    description: Description
    ideal: float
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary
    against: Against | None = None
    elsewhere: Elsewhere = Elsewhere()

    def to_json(self) -> dict[str, Any]:
        """The keys of an entry of `networks` in `--json`."""
        return {
            "label": self.label,
            "description": self.description.to_json(),
            "ideal": self.ideal,
            "mean": self.summary.mean,
            "std": self.summary.std,
            "min": self.summary.min,
            "max": self.summary.max,
            "percentile": self.kpp.to_json(),
            "against_first": None if self.against is None else self.against.to_json(),
            "elsewhere": self.elsewhere.to_json(),
            "values": self.values.tolist(),
        }


@checked
@dataclass(frozen=True, repr=False)
class Comparison(Shown, Drawn, WithReport):
    """Networks on the same chips.

    Attributes:
        networks: In the order given; each is compared with the first.
        seconds: Wall time of everything.
    """

    networks: tuple[Compared, ...]
    seconds: float

    @property
    def metric(self) -> str:
        """What values are; see `nvmc.evaluation.description.Description`."""
        return self.networks[0].description.metric

    @property
    def shared(self) -> dict[str, Any]:
        """What the descriptions agree in, as JSON; the devices of all where these differ.

        No noise where it is not the same in all.
        """
        told = [one.description for one in self.networks]
        devices = list(dict.fromkeys(one.setup.target.device.name for one in told))
        found = {**in_common(told), "device": " against ".join(devices)}
        noises = [one.to_json()["noise"] for one in told]
        if any(noise != noises[0] for noise in noises):
            found.pop("noise", None)
        return found

    @property
    def percent(self) -> bool:
        """Whether values are shares, shown in percent; else in the metric's own unit."""
        known = find_metric(self.metric)
        return known is None or known.percent

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc compare --json` prints it; docs/compare.md names the keys."""
        return {
            "format": FORMAT,
            "metric": self.metric,
            "less_is_better": self.networks[0].kpp.less_is_better,
            "networks": [one.to_json() for one in self.networks],
            "seconds": self.seconds,
        }

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        worth = ", ".join(f"{one.label} {self._text(one.kpp.value)}" for one in self.networks)
        unit = " in %" * self.percent
        return f"Comparison on the same chips ({self._caption}): KPP{unit} {worth}"

    @property
    def _caption(self) -> str:
        """Networks on devices with what is each one's own, all else of them: of what the table is.

        Two of one name on one device are told apart by their labels.
        """
        told = [one.description for one in self.networks]
        shared, own = words_apart(told)
        names = list(map(on_device, told))
        if len(set(names)) < len(told) and any(own):
            names = [one.label for one in self.networks]
        pairs = zip(names, own, strict=True)
        texts = [f"{name} ({', '.join(words)})" if words else name for name, words in pairs]
        head = " against ".join(dict.fromkeys(texts))
        return ", ".join([head, *shared.values(), counts_of(told[0])])

    @property
    def own_words(self) -> dict[str, list[str]]:
        """What the setup of each network has of its own, in words, by label."""
        _, own = words_apart([one.description for one in self.networks])
        return {one.label: words for one, words in zip(self.networks, own, strict=True)}

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each network: what its chips are worth, and its differences from the first."""
        return map(_machine, self.networks)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each network and chip: `label`, `chip`, the metric.

        A chip of one number has the same random numbers in all networks.

        Raises:
            OptionError: pandas is not installed.
        """
        return frame_of(
            {"label": one.label, "chip": one.description.first + chip, self.metric: float(value)}
            for one in self.networks
            for chip, value in enumerate(one.values)
        )

    def _draw(self, sheet: Sheet) -> None:
        """How the chips of all are spread."""
        draw_comparison(self, sheet)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the table's figures are, and why an interval is open or wide, in sentences."""
        item = item_of(self.networks[0].description.data)
        differences = [one.against for one in self.networks if one.against is not None]
        kpp = differences[0].kpp
        points = "percentage points" if self.percent else short_of(self.metric)
        better = "below" if self.networks[0].kpp.less_is_better else "above"
        said = [
            f"Differences are in {points}; {better} 0 is better.",
            f"Intervals on these {item}s are of chips alone, and cover no other {item}s.",
        ]
        if not kpp.chips_alone.closed:
            needed = kpp.chips_alone.runs_needed
            said.append(
                f"An open end of the KPP's difference needs {needed} chips: "
                f"{as_called(f'--runs {needed}')}."
            )
        if any(map(_wide, differences)):
            said.append(
                "An interval of the mean allows for rare chips that are far off, wherever values "
                "may lie; it narrows with more chips."
            )
        if differences[0].mean.interval is None:
            said.append(f"{short_of(self.metric)} has no bounds, so no interval of its mean holds.")
        if len(differences) > 1:
            said.append(
                f"Each interval is at {kpp.confidence:.0%} by itself, not all of them at once."
            )
        return (*said, *self.networks[0].description.notes)

    def shown(self) -> Table:
        """As people read it: a column for each network, quantities below each other."""
        first, *others = (self._cells(one) for one in self.networks)
        blank = [""] * (len(others[0]) - len(first))
        texts = [[*(text for _, text in first), *blank]]
        texts += [[text for _, text in cells] for cells in others]
        names = [name for name, _ in others[0]]
        known = find_metric(self.metric)
        short = self.metric if known is None else known.short
        head = f"{short} [%]" if self.percent else short
        labels = [one.label for one in self.networks]
        rows = tuple(zip(names, *texts, strict=True))
        return Table((head, *labels), rows, self._caption, self.notes)

    def _cells(self, one: Compared) -> list[tuple[str, str]]:
        """Quantities and what is written of a network; the first has only the upper ones."""
        kpp, summary = one.kpp, one.summary
        own = f"  {kpp.confidence:.0%} interval"
        spread = "" if summary.std is None else f" ± {self._text(summary.std)}"
        both = kpp.covers == "chips and images"
        item = item_of(one.description.data)
        cells = [
            ("ideal chip", self._text(one.ideal)),
            ("mean ± deviation over chips", f"{self._text(summary.mean)}{spread}"),
            ("worst chip", self._text(summary.worst)),
            (f"KPP, k = {kpp.k:g}", self._text(kpp.value)),
            *([(f"{own}, chips and {item}s", self._ends(kpp.interval))] if both else []),
            (f"{own}, these {item}s", self._ends(kpp.chips_alone)),
        ]
        return cells if one.against is None else [*cells, *self._differences(one.against, own)]

    def _differences(self, found: Against, own: str) -> list[tuple[str, str]]:
        """What is written of a network less the first."""
        kpp, mean, better = found.kpp, found.mean, found.better
        both = kpp.covers == "chips and images"
        ends, item = better.interval, item_of(self.networks[0].description.data)
        return [
            (f"difference from {self.networks[0].label}:", ""),
            ("KPP", self._signed(kpp.value)),
            *([(f"{own}, chips and {item}s", self._ends(kpp.interval, True))] if both else []),
            (f"{own}, these {item}s", self._ends(kpp.chips_alone, True)),
            ("mean over chips", self._signed(mean.value)),
            self._mean_row(mean, f"{own}, these {item}s"),
            ("chips that are better", f"{100 * better.value:.1f} %"),
            (f"{own}, these {item}s", f"{100 * ends.low:.1f} to {100 * ends.high:.1f} %"),
            ("chips that are equal", f"{100 * better.equal / kpp.runs:.1f} %"),
        ]

    def _text(self, value: float) -> str:
        return f"{100 * value:.2f}" if self.percent else f"{value:.4g}"

    def _signed(self, value: float) -> str:
        """A difference; what rounds to nothing has no sign."""
        text = f"{100 * value:+.2f}" if self.percent else f"{value:+.4g}"
        text = text[1:] if float(text) == 0 else text
        return text.replace("-", "−")

    def _ends(self, ends: Ends, signed: bool = False) -> str:
        text = self._signed if signed else self._text
        if ends.low is None:
            return "open" if ends.high is None else f"at most {text(ends.high)}"
        return f"at least {text(ends.low)}" if ends.high is None else _to(text, ends.low, ends.high)

    def _mean_row(self, mean: MeanDifference, own: str) -> tuple[str, str]:
        """How sure a mean is: its interval, or its standard error where values have no bounds."""
        if mean.interval is None:
            return "  standard error", "unknown" if mean.error is None else self._text(mean.error)
        return own, _to(self._signed, mean.interval.low, mean.interval.high)


def _wide(one: Against) -> bool:
    """Whether the interval of a mean is far wider than its standard error, since chips are few."""
    error, ends = one.mean.error, one.mean.interval
    return error is not None and ends is not None and ends.high - ends.low > WIDE * error


def _to(text: Any, low: float, high: float) -> str:
    return f"{text(low)} to {text(high)}"


def _machine(one: Compared) -> dict[str, str | int | float | None]:
    """A network as a row of numbers."""
    kpp, summary, against = one.kpp, one.summary, one.against
    row: dict[str, str | int | float | None] = {
        "label": one.label,
        "network": one.description.network,
        "network_sha256": one.description.network_sha256,
        "device": one.description.setup.target.device.name,
        "sigma": one.description.setup.strength,
        "data": one.description.data,
        "images": one.description.images,
        "metric": one.description.metric,
        "runs": kpp.runs,
        "seed": one.description.seed,
        "first": one.description.first,
        "ideal": one.ideal,
        "mean": summary.mean,
        "std": summary.std,
        "min": summary.min,
        "max": summary.max,
        "k": kpp.k,
        "kpp": kpp.value,
        **_pair("kpp", kpp.interval),
        "kpp_covers": kpp.covers,
        **_pair("kpp_chips_alone", kpp.chips_alone),
        "confidence": kpp.confidence,
    }
    difference, mean, better = (
        (None, None, None) if against is None else (against.kpp, against.mean, against.better)
    )
    return row | {
        "kpp_difference": None if difference is None else difference.value,
        **_pair("kpp_difference", None if difference is None else difference.interval),
        **_pair(
            "kpp_difference_chips_alone", None if difference is None else difference.chips_alone
        ),
        "mean_difference": None if mean is None else mean.value,
        "mean_difference_error": None if mean is None else mean.error,
        **_pair("mean_difference", None if mean is None else mean.interval),
        "share_better": None if better is None else better.value,
        **_pair("share_better", None if better is None else better.interval),
        "chips_equal": None if better is None else better.equal,
    }


def _pair(name: str, ends: Ends | Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if ends is None else (ends.low, ends.high)
    return {f"{name}_low": low, f"{name}_high": high}
