"""What `nvmc results` says of experiments: as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table

from nvmc.cli.console import count, interval_rows, ordinal, passes_text, worst_text
from nvmc.cli.goals import yield_row
from nvmc.cli.heading import noise_text, noisy_places_texts, periphery_text
from nvmc.cli.stored import expected_in
from nvmc.data.items import item_of
from nvmc.evaluation.parameters import duration_text
from nvmc.metrics import find_metric
from nvmc.metrics.values import bare_text, value_text
from nvmc.statistics import (
    Images,
    Kpp,
    Summary,
    Yield,
    percentile_index,
    percentile_performance,
    summarize,
    yield_at,
)
from nvmc.store import Entry, Origin, Store, Total

__all__ = [
    "SHORT",
    "Worth",
    "entry_json",
    "facts_of",
    "statistics_json",
    "statistics_of",
    "table_of",
    "worth_of",
]

_NAMES = ("network", "device", "images")
"""Columns with names that people gave, which may be long."""
_LEAST = 12
"""Characters that are left of a long name."""
SHORT = 8
"""Digits of an id that are shown."""


@dataclass(frozen=True)
class Worth:
    """What the chips of an experiment are worth.

    Attributes:
        stated: Mean, KPP and the like; None while chips of it ran in part only.
        elsewhere: Chips that others found.
        unchecked: Those of them that no run has checked a part of.
        reached: The yield at a goal; None without one, or while chips ran in part only.
    """

    stated: tuple[Summary, Kpp] | None
    elsewhere: int
    unchecked: int
    reached: Yield | None = None


def worth_of(store: Store, entry: Entry, percentile: float, goal: float | None = None) -> Worth:
    """What the chips of an experiment are worth, and how many of them reach a goal.

    Raises:
        OptionError: There is no such percentile.
        StoreError: The store is damaged, or holds what cannot be.
    """
    percentile_index(1, percentile)
    chips: list[tuple[Total, float]] = []
    origins: list[Origin] = []
    for (_, _, total, value), origin in store.chips(entry.id, expected_in(entry)):
        origins.append(origin)
        if value is not None:
            chips.append((total, value))
    elsewhere = len(origins) - origins.count(Origin.HERE), origins.count(Origin.ELSEWHERE)
    if entry.begun or not chips:
        return Worth(None, *elsewhere)
    values = [value for _, value in chips]
    less = (metric := find_metric(entry.facts.get("metric"))) is not None and metric.less_is_better
    way: Any = {"less_is_better": less}
    kpp = percentile_performance(values, percentile, images=_sampled(entry, chips), **way)
    reached = None if goal is None else yield_at(values, goal, **way)
    return Worth((summarize(values, **way), kpp), *elsewhere, reached)


def _sampled(entry: Entry, chips: Iterable[tuple[Total, float]]) -> Images | None:
    """What the values of an experiment are shares of; older stores say it by hits and values."""
    images, metric = entry.facts.get("images"), find_metric(entry.facts.get("metric"))
    if not images or metric is None or not metric.counts:
        return None
    if "decisions" in entry.facts:
        decisions = entry.facts["decisions"]
        return None if decisions is None else Images(images, decisions)
    for total, value in chips:
        if value > 0 and not isinstance(total, tuple):
            return Images(images, max(1, round(total / (value * images))))
    return Images(images, 2)  # all at 0: its ends hold for any number of decisions


def table_of(entries: Sequence[Entry], found: Sequence[Worth], width: int) -> Table:
    """One row an experiment, with the columns in which any of them has something to say.

    Where it is wider than `width` characters, long names are cut in the middle.
    """
    networks = {entry.facts.get("network") for entry in entries}
    pairs = zip(entries, found, strict=True)
    rows = [_row(entry, each, len(networks) > 1) for entry, each in pairs]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    rows = _fitted(rows, names, width)
    for name in names:
        right = name in ("sigma", "time", "chips", "begun", "mean", "KPP")
        wraps = name in ("also", "elsewhere")  # at spaces
        table.add_column(
            name,
            no_wrap=not wraps,
            overflow="fold" if name in _NAMES or wraps else "ellipsis",
            justify="right" if right else "left",
        )
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _fitted(
    rows: Sequence[dict[str, str]], names: Sequence[str], width: int
) -> list[dict[str, str]]:
    """The rows with long names cut in the middle, as far as a line of `width` needs it."""
    widths = {
        name: max(len(name), *(len(word) for row in rows for word in _unbroken(name, row[name])))
        for name in names
    }
    while sum(widths.values()) + len(names) > width:
        longest = max(_NAMES, key=lambda name: widths.get(name, 0))
        if widths.get(longest, 0) <= _LEAST:
            break
        widths[longest] -= 1
    return [
        {
            k: _cut(text, widths[k]) if k in _NAMES and k in widths else text
            for k, text in row.items()
        }
        for row in rows
    ]


def _unbroken(name: str, text: str) -> list[str]:
    """What of a cell stands on one line."""
    return [text] if name not in ("also", "elsewhere") else text.split()


def _cut(text: str, width: int) -> str:
    """A text of at most so many characters: its beginning and its end."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _row(entry: Entry, found: Worth, named: bool) -> dict[str, str]:
    facts, stated, metric = entry.facts, found.stated, str(entry.facts.get("metric", ""))
    sigma, time_s = facts.get("sigma"), facts.get("time_s")
    images = f"{facts['images']:,}" if "images" in facts else ""
    return {
        "id": entry.id[:SHORT],
        "network": str(facts.get("network", "")).removesuffix(".nvmc") if named else "",
        "device": str(facts.get("device", "")),
        "sigma": "" if sigma is None else f"{sigma:g}",
        "time": "" if time_s is None else duration_text(time_s),
        "images": f"{images} {facts.get('data', '')}".strip(),
        "also": ", ".join(_also(entry)),
        "chips": f"{entry.complete:,}",
        "begun": f"{entry.begun:,}" if entry.begun else "",
        "elsewhere": _elsewhere(found),
        "mean": bare_text(metric, stated[0].mean) if stated else "",
        "KPP": bare_text(metric, stated[1].value) + " (worst)" * stated[1].is_worst
        if stated
        else "",
        "written": _moment(entry.written),
    }


def _elsewhere(found: Worth) -> str:
    """How many chips others found, and how many of them a check covers."""
    if not found.elsewhere:
        return ""
    checked = found.elsewhere - found.unchecked
    said = "all" if not found.unchecked else f"{checked:,}" if checked else "none"
    return f"{found.elsewhere:,} ({said} checked)"


def _also(entry: Entry) -> list[str]:
    """What is not as it is by default, and tells alike experiments apart."""
    facts = entry.facts
    seed, passes = facts.get("seed"), facts.get("mc_passes")
    said = ["circuit"] if facts.get("fidelity") == "circuit" else []
    said += [str(one.get("type", "-")) for one in facts.get("compensate") or ()]
    if seed:
        number = str(seed)
        said.append(f"seed {number}" if len(number) <= SHORT else f"seed {number[:SHORT]}…")
    return said + ([f"{passes} passes"] if passes and passes > 1 else [])


def _moment(when: datetime | None) -> str:
    """Local time today, or the date."""
    if when is None:
        return ""
    local = when.astimezone()
    today = local.date() == datetime.now(local.tzinfo).date()
    return f"{local:%H:%M}" if today else f"{local:%Y-%m-%d}"


def facts_of(entry: Entry) -> list[tuple[str, str]]:
    """Rows of a table: what an experiment is of."""
    facts = entry.facts
    sigma, time_s, passes = facts.get("sigma"), facts.get("time_s"), facts.get("mc_passes")
    metric, data = facts.get("metric", ""), facts.get("data", "-")
    known = find_metric(metric)
    rows = [
        ("experiment", entry.id),
        ("network", f"{facts.get('network', '-')}, model {entry.key.get('network', '-')}"),
        ("device", str(facts.get("device", "-"))),
        ("sigma", "" if sigma is None else f"{sigma:g}"),
        ("noise", " ".join(map(noise_text, facts.get("noise", facts.get("sources", ()))))),
        ("places", "; ".join(noisy_places_texts(facts))),
        ("compensated by", " ".join(map(noise_text, facts.get("compensate") or ()))),
        ("periphery", periphery_text(facts["periphery"]) if "periphery" in facts else ""),
        ("time", "" if time_s is None else f"{duration_text(time_s)} since programming"),
        ("data", f"{data}, {count(facts.get('images', 0), item_of(data))}"),
        ("limit", "" if facts.get("limit") is None else f"{facts['limit']:,}"),
        ("note", str(facts.get("data_note") or "")),
        ("output", str(facts.get("output") or "")),
        ("fidelity", str(facts.get("fidelity", "-"))),
        ("stochastic", "" if passes is None else passes_text(passes)),
        ("metric", str(metric) if known is None else f"{metric}: {known.title}"),
        ("seed", str(facts.get("seed", "-"))),
        ("engine", str(facts.get("engine", "-"))),
        ("nvmc", str(facts.get("nvmc", ""))),
        ("begun", str(facts.get("created", "-"))),
        ("last written", "" if entry.written is None else entry.written.isoformat()),
        ("ideal chip", value_text(str(metric), facts["ideal"]) if "ideal" in facts else ""),
    ]
    return [row for row in rows if row[1]]


def statistics_of(entry: Entry, found: Worth) -> list[tuple[str, str]]:
    """Rows of a table: its chips, and what they are worth."""
    chips = f"{entry.complete:,}"
    if entry.first is not None:
        chips += f", of numbers {entry.first:,} to {entry.last:,}"
    others = _others(entry, found)
    data = entry.facts.get("data")
    if found.stated is None:
        if not entry.begun:
            return [("chips", chips), *others]
        stopped = f"{count(entry.begun, 'other')} ran on some of the {item_of(data)}s only"
        return [
            ("chips", f"{chips}; {stopped}"),
            ("", "their mean and KPP: give the same `nvmc simulate` command again"),
            *others,
        ]
    summary, kpp = found.stated
    images, metric = entry.facts.get("images"), str(entry.facts.get("metric", ""))
    spread = "" if summary.std is None else f" ± {bare_text(metric, summary.std)} over chips"
    intervals = interval_rows(kpp, images, metric, data)
    return [
        ("chips", chips),
        *others,
        ("mean", f"{value_text(metric, summary.mean)}{spread}"),
        ("worst chip", value_text(metric, summary.worst)),
        (
            f"{ordinal(kpp.k)} percentile (KPP)",
            value_text(metric, kpp.value) + (f", {worst_text(kpp)}" if kpp.is_worst else ""),
        ),
        *((name, f"{ends}, {of}") for name, ends, of in intervals),
        *_reached(found, images, metric, data),
    ]


def _reached(found: Worth, images: int | None, metric: str, data: object) -> list[tuple[str, str]]:
    """A row with the yield at the goal, where one was given."""
    if found.reached is None:
        return []
    name, value, of = yield_row(found.reached, images, metric, data)
    return [(name, f"{value}, {of}")]


def _others(entry: Entry, found: Worth) -> list[tuple[str, str]]:
    """What others wrote of an experiment, or somebody edited."""
    rows = [] if entry.described_here else [("described", "elsewhere: what it is of, and the rest")]
    if found.elsewhere:
        said = "some of them were run again here, with the same sums"
        if found.unchecked:
            said = f"{found.unchecked:,} not checked: `nvmc simulate` runs some of them again"
        rows.append(("from elsewhere", f"{count(found.elsewhere, 'chip')}; {said}"))
    return rows


def entry_json(entry: Entry, found: Worth) -> dict[str, Any]:
    """The keys of an experiment; docs/results.md names them."""
    return {
        "id": entry.id,
        "key": entry.key,
        "info": entry.info,
        "complete": entry.complete,
        "begun": entry.begun,
        "first": entry.first,
        "last": entry.last,
        "evaluations": entry.evaluations,
        "written": None if entry.written is None else entry.written.isoformat(),
        "elsewhere": found.elsewhere,
        "unchecked": found.unchecked,
        "described_here": entry.described_here,
    }


def statistics_json(found: Worth) -> dict[str, Any]:
    """The keys of what its chips are worth, as `nvmc simulate --json` has them."""
    if found.stated is None:
        return {
            "mean": None,
            "std": None,
            "min": None,
            "max": None,
            "percentile": None,
            "yield": None,
        }
    summary, kpp = found.stated
    return {
        "mean": summary.mean,
        "std": summary.std,
        "min": summary.min,
        "max": summary.max,
        "percentile": kpp.to_json(),
        "yield": None if found.reached is None else found.reached.to_json(),
    }
