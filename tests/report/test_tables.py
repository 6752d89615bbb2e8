"""Tables in every form: what they hold comes out again, whatever the cells have in them."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest

from nvmc.errors import OptionError
from nvmc.tables import KINDS, Table, render

ODD = Table(
    ("network", "a|b", "50 %"),
    (("x_1 & <y>", "−0.5 ± 0.1", 'say "hi", twice'), ("z", "", "\\")),
    "A caption",
)


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.found.append([])
        if tag in ("td", "th"):
            self.found[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1] and data.strip():
            self.found[-1][-1] += data


def test_csv_and_html_give_the_cells_back() -> None:
    lines = [list(ODD.columns), *map(list, ODD.rows)]
    assert list(csv.reader(io.StringIO(render(ODD, "csv")))) == lines
    parser = Cells()
    parser.feed(render(ODD, "html"))
    assert parser.found == lines


def test_markdown_and_latex_escape_what_means_something() -> None:
    markdown = render(ODD, "markdown").splitlines()
    assert markdown[0] == "A caption" and markdown[2:4] == [
        "| network | a\\|b | 50 % |",
        "| --- | ---: | ---: |",
    ]
    latex = render(ODD, "latex")
    assert r"x\_1 \& \textless{}y\textgreater{} & $-$0.5 $\pm$ 0.1 &" in latex
    assert r"50 \% \\" in latex and r"\textbackslash{} \\" in latex and "{lrr}" in latex


def test_sub_rows_stay_indented() -> None:
    table = Table(("", "a"), (("KPP", "-1.5"), ("  interval", "-2 to 3×")), notes=("Few.", "So."))
    assert "| &emsp;interval | -2 to 3× |" in render(table, "markdown")
    assert '<th scope="row">&emsp;interval</th>' in render(table, "html")
    latex = render(table, "latex")
    assert r"  \quad interval & $-$2 to 3$\times$ \\" in latex and "KPP & $-$1.5" in latex
    assert "% Few.\n% So.\n\\begin" in latex and "Few" not in render(table, "markdown")
    assert "  interval  -2" in render(table)


def test_text_goes_below_where_it_is_too_wide() -> None:
    table = Table(("name", *"abc"), (("row", *("x" * 30 for _ in "abc")),))
    lines = render(table).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines] == [
        ["name", "a", "b"],
        ["row", "x" * 30, "x" * 30],
        [],
        ["name", "c"],
        ["row", "x" * 30],
    ]
    assert len(render(table, width=120).splitlines()) == 2


def test_wrong_tables_and_forms_are_one_line() -> None:
    with pytest.raises(OptionError, match="'markdwon'.*markdown"):
        render(ODD, "markdwon")
    with pytest.raises(OptionError, match="row 0 has 1 cells; expected 2"):
        Table(("a", "b"), (("x",),))
    assert [bool(render(ODD, kind)) for kind in KINDS] == [True] * 5
