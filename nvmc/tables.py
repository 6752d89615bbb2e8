"""Tables as text, Markdown, LaTeX, CSV and HTML, and results that show themselves as such."""

from __future__ import annotations

import csv
import html
import importlib
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nvmc.errors import OptionError, unknown

__all__ = ["KINDS", "Cell", "Shown", "Table", "TableKind", "frame_of", "render", "table_of"]

Cell = str | int | float | None

TableKind = Literal["text", "markdown", "latex", "csv", "html"]
KINDS: tuple[str, ...] = get_args(TableKind)

WIDTH = 80
GAP = "  "


@dataclass(frozen=True)
class Table:
    """A table of texts. A row whose name begins with two spaces belongs to the one above it.

    Attributes:
        columns: Headings, one a column; the first column names the rows.
        rows: Cells, as many a row as there are columns.
        caption: What the table is of; empty for none.
        notes: What a reader should know beside it, in sentences; LaTeX has them as comments, and
            whoever shows another form says them below it.

    Raises:
        OptionError: There is no column, or a row has another number of cells.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns:
            raise OptionError("the table has no columns; expected at least one")
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise OptionError(
                    f"row {i} has {len(row)} cells; expected {len(self.columns)}, one a column"
                )


def render(table: Table, kind: str = "text", width: int = WIDTH) -> str:
    """The table in one of the forms of `KINDS`, with a line break at its end.

    Args:
        table: The table.
        kind: `text` in aligned columns; `markdown` with pipes (GitHub's); `latex` for booktabs;
            `csv` (RFC 4180); `html` as a `<table>`. What means something there is escaped.
        width: Characters that a line of `text` may have: further columns go below, with the first
            one again.

    Raises:
        OptionError: There is no such form.
    """
    if kind not in _RENDERERS:
        raise OptionError(unknown("table", kind, KINDS))
    return _text(table, width) if kind == "text" else _RENDERERS[kind](table)


def _text(table: Table, width: int = WIDTH) -> str:
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    blocks = [textwrap.fill(table.caption, width, break_on_hyphens=False)] if table.caption else []
    at = 1
    while True:
        end, used = at, widths[0]
        while end < len(widths) and (end == at or used + len(GAP) + widths[end] <= width):
            used += len(GAP) + widths[end]
            end += 1
        blocks.append(
            "\n".join(
                GAP.join(
                    [line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in range(at, end))]
                ).rstrip()
                for line in lines
            )
        )
        at = end
        if at >= len(widths):
            return "\n\n".join(blocks) + "\n"


def _indented(cells: Sequence[str], step: str) -> list[str]:
    """Cells whose first has `step` for each two spaces that it begins with."""
    first = cells[0].lstrip(" ")
    return [step * ((len(cells[0]) - len(first)) // 2) + first, *cells[1:]]


def _markdown(table: Table) -> str:
    def line(cells: tuple[str, ...]) -> str:
        shown = [cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells]
        return f"| {' | '.join(_indented(shown, '&emsp;'))} |"

    rule = ("---", *("---:" for _ in table.columns[1:]))
    head = [f"{table.caption}\n"] if table.caption else []
    return "\n".join([*head, line(table.columns), line(rule), *map(line, table.rows)]) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": "$-$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    "²": "$^2$",
    "°": r"$^\circ$",
    "–": "--",
    "µ": r"\textmu{}",
}


_MINUS = re.compile(r"(?<![^\s(])-(?=[\d.])")
"""The minus of a number that was written with a hyphen."""
_QUAD = r"\quad "


def _latex(table: Table) -> str:
    def escaped(text: str) -> str:
        return "".join(_LATEX.get(sign, sign) for sign in _MINUS.sub("−", text))

    def line(cells: tuple[str, ...]) -> str:
        return f"  {' & '.join(_indented(list(map(escaped, cells)), _QUAD))} \\\\"

    told = [text for text in (table.caption, *table.notes) if text]
    comments = [f"% {text}".replace("\n", "\n% ") for text in told]
    return (
        "\n".join(
            [
                "% needs \\usepackage{booktabs}",
                *comments,
                f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
                "  \\toprule",
                line(table.columns),
                "  \\midrule",
                *map(line, table.rows),
                "  \\bottomrule",
                "\\end{tabular}",
            ]
        )
        + "\n"
    )


def _csv(table: Table) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([table.columns, *table.rows])
    return written.getvalue()


def _html(table: Table) -> str:
    def cells(kind: str, texts: tuple[str, ...]) -> str:
        name = _indented([html.escape(texts[0])], "&emsp;")[0]
        first = f'<th scope="{"col" if kind == "th" else "row"}">{name}</th>'
        scope = ' scope="col"' if kind == "th" else ""
        others = (f"<{kind}{scope}>{html.escape(text)}</{kind}>" for text in texts[1:])
        return f"<tr>{first}{''.join(others)}</tr>"

    caption = f"<caption>{html.escape(table.caption)}</caption>\n" if table.caption else ""
    body = "\n".join(cells("td", row) for row in table.rows)
    head = f"<thead>{cells('th', table.columns)}</thead>"
    return f"<table>\n{caption}{head}\n<tbody>\n{body}\n</tbody>\n</table>\n"


_RENDERERS: dict[str, Callable[[Table], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "html": _html,
}


def table_of(rows: Iterable[Mapping[str, Cell]]) -> Table:
    """Rows with the keys of the first as a table of texts; a cell of None is empty.

    Numbers are written so that reading them gives the same float64.

    Raises:
        OptionError: There are no rows.
    """
    lines = list(rows)
    if not lines:
        raise OptionError("the table has no rows; expected at least one")
    texts = (tuple("" if v is None else str(v) for v in line.values()) for line in lines)
    return Table(tuple(lines[0]), tuple(texts))


def frame_of(rows: Iterable[Mapping[str, Cell]]) -> Any:
    """Rows as a `pandas.DataFrame`; a cell of None is NaN among numbers.

    Raises:
        OptionError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise OptionError(
            "to_pandas needs pandas, which is not installed; pip install pandas"
        ) from error
    return pandas.DataFrame(list(rows))


class Shown:
    """A result that shows itself: a line of its own, a table for people, rows for programs.

    A child says `headline`, `shown` and `records`.
    """

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        raise NotImplementedError

    def shown(self) -> Table:
        """The table for people: rounded, with units."""
        raise NotImplementedError

    def records(self) -> Iterable[Mapping[str, Cell]]:
        """The table for programs: numbers as they are, names as in JSON."""
        raise NotImplementedError

    def table(self, kind: str = "text", width: int = WIDTH) -> str:
        """The result as a table.

        Args:
            kind: `text`, `markdown`, `latex` (booktabs) or `html`, rounded as people read it; or
                `csv`, with all digits, where an open end of an interval is empty.
            width: Characters that a line of `text` may have.

        Raises:
            OptionError: There is no such kind, or nothing in the table.
        """
        if kind == "csv":
            return render(table_of(self.records()), kind)
        return render(self.shown(), kind, width)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each of `records`.

        Raises:
            OptionError: pandas is not installed.
        """
        return frame_of(self.records())

    def _repr_html_(self) -> str:
        """In notebooks: the line, and the table below it."""
        return f"<p>{html.escape(self.headline())}</p>\n{self.table('html')}"

    def __repr__(self) -> str:
        """One line, where all of a result's fields would fill screens."""
        return f"<{self.headline()}>"
