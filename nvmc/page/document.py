"""A report as one HTML file: sections, the charts' data, styles and scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from nvmc import __version__
from nvmc.page.blocks import Block, Chart, Choice, DataTable, Heading, Paragraph, Quotation, Section
from nvmc.page.library import chart_library
from nvmc.page.markup import Markup, embedded_json, markup, tag, visible
from nvmc.page.report import Report
from nvmc.page.sections import SECTIONS
from nvmc.page.values import counted
from nvmc.tables import Table, render

__all__ = ["document"]

MOST_ROWS = 1_500
"""Rows of a table that are on the page; its CSV file has all."""
MOST_IN_LATEX = 200
"""Rows up to which a table is offered for LaTeX."""
FILTERED = 16
"""Rows from which on a table can be filtered."""

CONFIG: dict[str, Any] = {
    "aria": False,  # each chart is one picture with a description and a table
    "background": "white",
    "font": "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "gridColor": "#dfe3e8",
        "domainColor": "#8a8f98",
        "tickColor": "#8a8f98",
        "labelColor": "#3d434b",
        "titleColor": "#1d2127",
        "labelFlush": False,
        "labelSeparation": 6,  # every other label goes where they would touch
    },
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
}


def document(report: Report, library: str | None = None) -> str:
    """The page; the same report and library give the same bytes.

    Args:
        report: What is on it.
        library: The scripts that draw charts; those of `chart_library` by default.

    Raises:
        OptionError: vl-convert is not installed.
    """
    scripts = [chart_library() if library is None else library, _file("page.js")]
    sections = {name: one for name, one in _sections(report)}
    page = _Page()
    parts = [page.section(name, one) for name, one in sections.items()]
    parts.insert(len(parts) - 1, page.downloads())
    links = {name: one.title for name, one in sections.items()}
    cite = links.pop("cite")
    links |= {"downloads": "Downloads", "cite": cite}
    body = tag(
        "body",
        tag("a", "Skip to the results", href="#main", class_="skip"),
        _header(report),
        tag("nav", tag("ol", *(_link(*link) for link in links.items())), aria_label="Sections"),
        tag("main", *parts, id="main"),
        _footer(report),
        *(tag("script", Markup(script)) for script in scripts),
    )
    page_of = tag("html", _head(report, scripts), body, lang="en")
    return f"<!DOCTYPE html>\n{page_of}\n"


def _sections(report: Report) -> Iterator[tuple[str, Section]]:
    """Those that have anything."""
    for name, (title, blocks) in SECTIONS.items():
        if found := tuple(blocks(report)):
            yield name, Section(title, found)


def _file(name: str) -> str:
    return files("nvmc.page").joinpath(name).read_text(encoding="utf-8")


def _head(report: Report, scripts: list[str]) -> Markup:
    """What browsers need; nothing may be loaded, and no other script runs than these."""
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"nvmc {__version__}"),
        tag("title", report.heading),
        tag("style", Markup(_file("page.css"))),
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _header(report: Report) -> Markup:
    chips = sum(len(one.values) for one in report.populations)
    told = [f"nvmc {__version__}", counted(chips, "chip"), *([report.date] if report.date else [])]
    return tag(
        "header",
        tag("h1", report.heading),
        tag("p", " · ".join(told), class_="told"),
    )


def _footer(report: Report) -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            f"Made with nvmc {__version__}. This file needs no network. Charts are drawn by "
            "Vega-Lite (BSD 3-Clause).",
        ),
        tag("noscript", tag("p", "Charts need JavaScript; the tables have the same numbers.")),
    )


def _link(name: str, title: str) -> Markup:
    return tag("li", tag("a", title, href=f"#{name}"))


@dataclass
class _Page:
    """Turns blocks into HTML, and counts figures and tables."""

    figures: int = 0
    tables: int = 0
    offered: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list[Any])

    def section(self, name: str, section: Section) -> Markup:
        """A section with its heading."""
        inside = (self._block(block) for block in section.blocks)
        heading = tag("h2", section.title, id=f"{name}-title")
        return tag("section", heading, *inside, id=name, aria_labelledby=f"{name}-title")

    def downloads(self) -> Markup:
        """Where everything is that can be downloaded."""
        lines = [
            tag("li", tag("a", title, href=f"#{anchor}"), f" ({', '.join(kinds)})")
            for anchor, title, kinds in self.offered
        ]
        text = "The files are within this page; each is offered below its figure or table."
        heading = tag("h2", "Downloads", id="downloads-title")
        inside = (heading, tag("p", text), tag("ul", *lines))
        return tag("section", *inside, id="downloads", aria_labelledby="downloads-title")

    def _block(self, block: Block) -> Markup:
        if isinstance(block, Heading):
            return tag("h3", block.text, class_="part")
        if isinstance(block, Paragraph):
            role = "note" if block.kind == "note" else None
            return tag("p", block.text, class_=block.kind, role=role)
        if isinstance(block, Quotation):
            return self._quotation(block)
        return self._chart(block) if isinstance(block, Chart) else self._table(block)

    def _quotation(self, block: Quotation) -> Markup:
        anchor = f"q-{block.name.replace('.', '-')}"
        files = () if "." not in block.name else (_file_link(block.name, block.text, "text"),)
        if files:
            self.offered.append((anchor, block.title, ("text",)))
        return tag(
            "div",
            tag("h3", block.title),
            tag("pre", block.text, tabindex="0"),
            *(tag("p", "Download: ", one, class_="files") for one in files),
            class_="quotation",
            id=anchor,
        )

    def _chart(self, block: Chart) -> Markup:
        self.figures += 1
        title = f"Figure {self.figures}. {block.title}"
        name, anchor = block.name, f"figure-{block.name}"
        self.offered.append((anchor, title, ("SVG", *_kinds(block.table))))
        picture = tag(
            "div",
            id=f"chart-{name}",
            class_="chart narrow" if block.narrow else "chart",
            role="img",
            aria_labelledby=f"title-{name}",
            aria_describedby=f"summary-{name}",
        )
        button = tag("button", "SVG", type="button", data_svg=name, hidden=True,
                     aria_label=f"Download figure {self.figures} as SVG")  # fmt: skip
        return tag(
            "figure",
            tag("figcaption", title, id=f"title-{name}"),
            *(_control(name, choice) for choice in block.choices),
            picture,
            tag("p", block.summary, class_="summary", id=f"summary-{name}"),
            tag("p", "Download: ", button, *_links(block.table), class_="files"),
            _details(block.table),
            tag("script", embedded_json(_spec(block)), type="application/json", id=f"data-{name}"),
            id=anchor,
            data_chart=name,
        )

    def _table(self, block: DataTable) -> Markup:
        self.tables += 1
        title, anchor = f"Table {self.tables}. {block.title}", f"block-{block.name}"
        self.offered.append((anchor, title, _kinds(block)))
        files = tag("p", "Download: ", *_links(block), class_="files")
        shown = _plain(block) if block.open else _details(block)
        return tag("div", tag("h3", title), shown, files, class_="table", id=anchor)


def _spec(block: Chart) -> dict[str, Any]:
    size: dict[str, Any] = {"width": "container", "height": block.height}
    if block.choices:
        size["params"] = [{"name": one.param, "value": one.value} for one in block.choices]
    fit = {"type": "fit-x", "contains": "padding"}
    schema = "https://vega.github.io/schema/vega-lite/v6.json"
    return {"$schema": schema, **size, "autosize": fit, "config": CONFIG, **block.spec}


def _control(name: str, choice: Choice) -> Markup:
    """What a reader chooses with; shown where scripts run."""
    if not choice.several:
        options = (
            tag("option", text, value=str(i), selected=i == choice.first)
            for i, text in enumerate(choice.options)
        )
        field_of = tag("select", *options, data_of=name, data_param=choice.param)
        label = tag("label", f"{choice.label} ", field_of)
        return tag("p", label, class_="control", hidden=True)
    boxes = (
        tag("label", _box(name, choice.param, i), f" {text}")
        for i, text in enumerate(choice.options)
    )
    return tag("fieldset", tag("legend", choice.label), *boxes, class_="control", hidden=True)


def _box(name: str, param: str, i: int) -> Markup:
    return tag("input", type="checkbox", checked=True, value=str(i), data_of=name, data_param=param)


def _plain(block: DataTable) -> Markup:
    """The table, all of it visible; it scrolls sideways where it must."""
    return tag("div", _rows(block), class_="wide", tabindex="0", role="region",
               aria_label=block.title)  # fmt: skip


def _rows(block: DataTable) -> Markup:
    kept = Table(
        tuple(map(visible, block.shown.columns)),
        tuple(tuple(map(visible, row)) for row in block.shown.rows[:MOST_ROWS]),
    )
    named = f'<table id="table-{block.name}">'
    text = _PAIR.sub('<td class="whole">\\1\u00a0±\u00a0\\2</td>', render(kept, "html"))
    return Markup(text.replace("<table>", named, 1))


_PAIR = re.compile(r"<td>([^<>±]*) ± ([^<>±]*)</td>")
"""A cell with a value and its deviation, which are not broken apart."""


def _details(block: DataTable) -> Markup:
    """The table, folded until it is asked for."""
    rows = block.shown.rows
    count = counted(len(rows), "row")
    region = tag(
        "div",
        _rows(block),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=block.title,
    )
    parts: list[Markup] = []
    if len(rows) >= FILTERED:
        box = tag("input", type="search", data_filter=f"table-{block.name}")
        live = tag("output", count, aria_live="polite")
        label, look = tag("label", "Rows that contain ", box), "control search"
        parts.append(tag("p", label, " ", live, class_=look, hidden=True))
    if len(rows) > MOST_ROWS:
        parts.append(tag("p", f"The first {MOST_ROWS:,} rows; the CSV file has all."))
    return tag("details", tag("summary", f"Data as a table ({count})"), *parts, region)


def _kinds(block: DataTable) -> tuple[str, ...]:
    return ("CSV", "LaTeX") if len(block.shown.rows) <= MOST_IN_LATEX else ("CSV",)


def _links(block: DataTable) -> Iterator[Markup]:
    """What a table is downloaded as."""
    table = block.shown
    if block.rows:
        cells = tuple(tuple("" if c is None else str(c) for c in row) for row in block.rows)
        table = Table(block.columns, cells)
    yield _file_link(f"{block.name}.csv", render(table, "csv"), "CSV", block.title)
    if "LaTeX" in _kinds(block):
        latex = render(block.shown, "latex")
        yield _file_link(f"{block.name}.tex", latex, "LaTeX", block.title)


def _file_link(name: str, text: str, kind: str, title: str = "") -> Markup:
    """A link that holds the file itself."""
    held = base64.b64encode(text.encode()).decode()
    what = "text/csv" if name.endswith(".csv") else "text/plain"
    label = f"Download {title or name} as {kind}"
    link = tag("a", kind, href=f"data:{what};charset=utf-8;base64,{held}", download=name,
               aria_label=label)  # fmt: skip
    return markup(link, " ")
