"""The answer: KPP, interval, and yield at the goal."""

from __future__ import annotations

from collections.abc import Iterator

from nvmc.data.items import counted_items, in_items, item_of
from nvmc.evaluation.captions import name_of, on_device, setup_words
from nvmc.page.blocks import Block, Chart, DataTable, Paragraph
from nvmc.page.charts import RED, Spec, domain_of, interval_row, intervals, over, rule, tooltip
from nvmc.page.report import Population, Report
from nvmc.page.values import Unit, counted, missing_text, share_text

__all__ = ["verdict"]


def verdict(report: Report) -> Iterator[Block]:
    """Sentences for each population, a table of them all, and their intervals."""
    unit = report.unit
    for one in report.populations:
        alike = [other for other in report.populations if other.description == one.description]
        yield Paragraph(_answer(one, unit, time=len(alike) == 1), "lead")
    yield from _warnings(report, unit)
    yield _table(report, unit)
    yield _chart(report, unit)


def _answer(one: Population, unit: Unit, time: bool) -> str:
    """What about 99 of 100 chips reach, or the worst of a few, in sentences.

    `time` is whether the description's time is this population's, rather than the first of several.
    """
    kpp, told = one.kpp, one.description
    device, value = told.setup.target.device.name, f"{unit.text(one.kpp.value)} {unit.name}"
    of = one.label if device in one.label else f"{one.label} on {device}"
    if name_of(told) not in one.label:
        of = on_device(told)
    words = setup_words(told)
    if not time:
        words["time"] = f"{one.label} since programming"
    data = f"on {counted_items(told.images, told.data)} of {told.data}"
    where = ", ".join([*words.values(), data])
    chips, name = counted(kpp.runs, "chip"), f"KPP, k = {kpp.k:g}"
    if kpp.is_worst:
        who = f"the worst of {chips} {unit.reaches} {value} ({name})"
    else:
        who = f"about {100 - kpp.k:g} of 100 chips {unit.reach} {value} ({name}, from {chips})"
    said = [f"{of}, {where}: {who}."]
    ends, sure = kpp.interval, f"{share_text(kpp.confidence, 0)} interval"
    covers = "all chips and images like these" if kpp.covers == "chips and images" else "all chips"
    covers = in_items(covers, one.description.data)
    lacks = missing_text(ends)
    said.append(f"{sure} for {covers}: {unit.ends(ends)}{f'; {lacks}' if lacks else ''}.")
    if one.reached is not None:
        said.append(_yield(one, unit))
    return " ".join(said)


def _yield(one: Population, unit: Unit) -> str:
    found = one.reached
    assert found is not None
    share = "an unknown share" if found.value is None else share_text(found.value)
    ends = f"{share_text(found.low)} to {share_text(found.high)}"
    items = f"{item_of(one.description.data)}s"
    unknown = f"; {counted(found.unknown, 'chip')} stopped early" if found.unknown else ""
    return (
        f"Yield at the goal of {unit.asked(found.goal)}: {share} of chips {unit.reach} it "
        f"({share_text(found.confidence, 0)} interval of chips, on these {items}: {ends}{unknown})."
    )


def _warnings(report: Report, unit: Unit) -> Iterator[Block]:
    """What misleads a reader who does not know it."""
    first = report.populations[0]
    for sentence in first.description.notes:
        yield Paragraph(sentence, "note")
    if unit.against_ideal:
        yield Paragraph(
            f"No labels were used: values are {unit.title}, not accuracy. A chip can agree with "
            "the ideal chip where both are wrong.",
            "note",
        )
    elif first.description.metric != "accuracy":
        yield Paragraph(f"Values are {unit.title}, not accuracy.", "note")
    if first.description.data_sha256 is None:
        yield Paragraph("Inputs are random: chips may do better or worse on real ones.", "note")
    worst = [one for one in report.populations if one.kpp.is_worst]
    if worst:
        fewest = counted(worst[0].kpp.runs_beyond_worst, "chip")
        yield Paragraph(
            f"With fewer than {fewest} the KPP is just the value of the worst chip that was run.",
            "note",
        )


def _table(report: Report, unit: Unit) -> DataTable:
    found = report.populations
    both = any(one.kpp.covers == "chips and images" for one in found)
    goal = any(one.reached is not None for one in found)
    data = found[0].description.data
    columns = [
        "chips of",
        f"ideal chip [{'%' if unit.percent else unit.name}]",
        "mean ± std",
        "worst",
        "KPP",
        *([in_items("interval, chips and images", data)] if both else []),
        in_items("interval, these images", data),
        *(["yield at goal (interval)"] if goal else []),
    ]
    shown = [_shown(one, unit, both, goal) for one in found]
    return DataTable.of(
        "verdict", "What the chips are worth", columns, shown, [_row(one) for one in found],
        open=True,
    )  # fmt: skip


def _shown(one: Population, unit: Unit, both: bool, goal: bool) -> list[str]:
    kpp, summary, found = one.kpp, one.summary, one.reached
    std = "" if summary.std is None else f" ± {unit.bare(summary.std)}"
    cells = [one.label, unit.bare(one.ideal), f"{unit.bare(summary.mean)}{std}"]
    cells += [unit.bare(summary.worst), unit.bare(kpp.value)]
    cells += [unit.ends(kpp.interval)] if both else []
    cells.append(unit.ends(kpp.chips_alone))
    if goal and found is not None:
        value = "not known" if found.value is None else share_text(found.value)
        cells.append(f"{value} ({share_text(found.low)} to {share_text(found.high)})")
    elif goal:
        cells.append("")
    return cells


def _row(one: Population) -> dict[str, str | int | float | None]:
    kpp, found = one.kpp, one.reached
    return {
        "chips_of": one.label,
        "network": one.description.network,
        "network_sha256": one.description.network_sha256,
        "device": one.description.setup.target.device.name,
        "metric": one.description.metric,
        "runs": kpp.runs,
        "ideal": one.ideal,
        "mean": one.summary.mean,
        "std": one.summary.std,
        "worst": one.summary.worst,
        "k": kpp.k,
        "kpp": kpp.value,
        "kpp_low": kpp.interval.low,
        "kpp_high": kpp.interval.high,
        "kpp_covers": kpp.covers,
        "kpp_low_chips_alone": kpp.chips_alone.low,
        "kpp_high_chips_alone": kpp.chips_alone.high,
        "confidence": kpp.confidence,
        "goal": None if found is None else found.goal,
        "yield": None if found is None else found.value,
        "yield_low": None if found is None else found.low,
        "yield_high": None if found is None else found.high,
    }


def _chart(report: Report, unit: Unit) -> Chart:
    found = report.populations
    known: list[float | None] = []
    for one in found:
        ends = (one.kpp.interval, one.kpp.chips_alone)
        known += [one.kpp.value, one.ideal, *(e for pair in ends for e in (pair.low, pair.high))]
    goal = next((one.reached.goal for one in found if one.reached is not None), None)
    domain = domain_of(None if v is None else unit.scale * v for v in (*known, goal))
    rows = [row for one in found for row in _intervals(one, unit, domain)]
    points = [
        {"label": one.label, "x": unit.scale * one.kpp.value, "value": unit.text(one.kpp.value)}
        for one in found
    ]
    point: Spec = {
        "data": {"values": points},
        "mark": {"type": "point", "filled": True, "size": 110, "color": RED, "opacity": 1},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "label", "type": "nominal", "title": None, "sort": None},
            "tooltip": tooltip(label="chips", value="KPP"),
        },
    }
    data = found[0].description.data
    layers = [*intervals(domain, unit, item_of(data)), point]
    if goal is not None:
        layers.append(rule(unit.scale * goal, RED, f"goal: {unit.asked(goal)}", (4, 3)))
    summary = "; ".join(
        f"{one.label}: KPP {unit.text(one.kpp.value)}, interval {unit.ends(one.kpp.interval)}"
        for one in found
    )
    shown = [
        (row["label"], row["kind"], unit.bare(one.kpp.value), row["ends"])
        for one in found
        for row in rows
        if row["label"] == one.label
    ]
    table = DataTable.of(
        "intervals", "KPP and its intervals", ("chips of", "interval of", "KPP", "from, to"), shown
    )
    thick = in_items("thick for chips and images, thin for chips alone", data)
    dashed = "" if goal is None else f"; dashed: the goal of {unit.asked(goal)}"
    return Chart(
        "kpp",
        f"KPP (dot) with its 95 % intervals, {thick}; an arrow is an open end{dashed}",
        summary,
        {"data": {"values": rows}, "layer": layers},
        table,
        height=50 + 46 * len(found),
    )


def _intervals(one: Population, unit: Unit, domain: tuple[float, float]) -> list[Spec]:
    """The one or two intervals of a population."""
    wide, alone = over(item_of(one.description.data))
    both = {alone: one.kpp.chips_alone}
    if one.kpp.covers == "chips and images":
        both = {wide: one.kpp.interval, **both}
    return [
        {
            "label": one.label,
            "kind": kind,
            "thick": int(kind != alone),
            **interval_row(ends, unit, domain),
        }
        for kind, ends in both.items()
    ]
