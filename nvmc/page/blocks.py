"""What a section is made of: paragraphs, tables and charts. None of it knows HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvmc.tables import Table

__all__ = ["Block", "Chart", "Choice", "DataTable", "Heading", "Paragraph", "Quotation", "Section"]

Cell = str | int | float | None


@dataclass(frozen=True)
class Heading:
    """What the blocks below it are of, where a section has several such parts.

    Attributes:
        text: A few words.
    """

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Sentences.

    Attributes:
        text: What is said.
        kind: `plain`, `lead` for the answer of a section, `note` for what a reader must not miss.
    """

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Quotation:
    """A text to be copied, such as an entry for a list of references.

    Attributes:
        name: Of the file that it is downloaded as.
        title: What it is.
        text: It, line by line.
    """

    name: str
    title: str
    text: str


@dataclass(frozen=True)
class DataTable:
    """A table, with what its CSV file holds.

    Attributes:
        name: Unique on the page, of letters, digits and hyphens: of its files too.
        title: What it is of.
        shown: As people read it.
        columns: Heading of the CSV file; empty where it holds what is shown.
        rows: Its rows, numbers unrounded.
        open: Whether its rows are visible before they are asked for.
    """

    name: str
    title: str
    shown: Table
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    open: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        columns: Sequence[str],
        shown: Sequence[Sequence[str]],
        rows: Sequence[Mapping[str, Cell]] = (),
        *,
        open: bool = False,
    ) -> DataTable:
        """From lines as shown, and from rows by column for the CSV file."""
        table = Table(tuple(columns), tuple(tuple(line) for line in shown), title)
        names = tuple(rows[0]) if rows else ()
        cells = tuple(tuple(row.values()) for row in rows)
        return cls(name, title, table, names, cells, open)


@dataclass(frozen=True)
class Choice:
    """What a reader can choose of a chart's data.

    Attributes:
        label: What is chosen.
        param: Name of the parameter in the chart: the number of the chosen option, or a list of
            the numbers of those that are shown.
        options: Their names, from number 0.
        several: Whether more than one may be shown; all are at first.
        first: The number of the option that is chosen at first, where one is.
    """

    label: str
    param: str
    options: tuple[str, ...]
    several: bool = False
    first: int = 0

    @property
    def value(self) -> int | list[int]:
        """The parameter before a reader chose anything."""
        return list(range(len(self.options))) if self.several else self.first


@dataclass(frozen=True)
class Chart:
    """A chart in Vega-Lite.

    Attributes:
        name: Unique on the page, of letters, digits and hyphens.
        title: What it shows.
        summary: What it says, for those who do not see it.
        spec: The chart, in Vega-Lite, without size, style and the parameters of choices. Texts from
            strangers may stand in its data and titles, never in names of fields or expressions.
        table: The same data.
        choices: What of it is shown.
        height: In pixels.
        narrow: Whether it is no wider than a third of a page, as a map of a square.
    """

    name: str
    title: str
    summary: str
    spec: dict[str, Any]
    table: DataTable
    choices: tuple[Choice, ...] = ()
    height: int = 260
    narrow: bool = False


Block = Heading | Paragraph | Quotation | DataTable | Chart


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        title: The heading.
        blocks: What is in it.
    """

    title: str
    blocks: tuple[Block, ...]
