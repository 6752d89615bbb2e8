"""What an exploration found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvmc.arguments import checked
from nvmc.cost.result import Figure, in_unit
from nvmc.evaluation.goals import Requirement
from nvmc.explore.choices import text_of
from nvmc.explore.front import QUANTITIES, Candidate, Quantity
from nvmc.explore.space import Design
from nvmc.tables import Cell, Shown, Table

__all__ = ["FORMAT", "Exploration", "Refused"]

FORMAT = "nvmc.explore/1"


@dataclass(frozen=True)
class Refused:
    """A design that cannot be.

    Attributes:
        design: It.
        why: In a line.
    """

    design: Design
    why: str


@checked
@dataclass(frozen=True, repr=False)
class Exploration(Shown):
    """Which designs reach a goal, and which of them cost least.

    Attributes:
        title: Of the space.
        varied: The choices in which designs differ.
        combinations: How many there are in the space.
        searched: Whether only some of them were proposed by a search, and tried.
        requirement: What the chips must have.
        goal: What a chip must reach, where a yield is required.
        hardware: The deciding hardware, then the others; each figure is of one of them.
        minimise: What is minimised.
        front: Designs that reach the goal and that no other beats, the cheapest first.
        beaten: Those that cost no less than one of the front that is no worse. Their chips were
            run until that was known, so whether they reach the goal may not be.
        missed: Those that miss the goal.
        refused: Those that cannot be.
        runs: Chips of each design.
        images: Images of each chip.
        shared: What the descriptions of the designs' chips agree in, as JSON.
        assumptions: What the costs assume.
        seconds: Wall time of everything.
    """

    title: str
    varied: tuple[str, ...]
    combinations: int
    searched: bool
    requirement: Requirement
    goal: float | None
    hardware: tuple[str, ...]
    minimise: tuple[Quantity, ...]
    front: tuple[Candidate, ...]
    beaten: tuple[Candidate, ...]
    missed: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    runs: int
    images: int
    shared: Mapping[str, Any]
    assumptions: tuple[str, ...]
    seconds: float

    @property
    def met(self) -> bool:
        """Whether some design reaches the goal."""
        return bool(self.front)

    @property
    def judged(self) -> int:
        """Designs whose chips were judged."""
        return len(self.front) + len(self.beaten) + len(self.missed)

    @property
    def share(self) -> float:
        """Images that were run, of those of all chips of all designs that were judged."""
        everyone = (*self.front, *self.beaten, *self.missed)
        run = sum(one.raced.images for one in everyone)
        return run / (self.runs * self.images * max(1, self.judged))

    def ranks(self, one: Candidate) -> dict[str, int | None]:
        """Place of a design on the front by what is minimised first, 1 the least, by hardware."""
        first, found = self.minimise[:1], dict[str, int | None]()
        for name in self.hardware:
            mine = one.values(name, first)
            said = one.costs[name] is not None
            lower = sum(other.values(name, first) < mine for other in self.front)
            found[name] = lower + 1 if said else None
        return found

    def depends(self, one: Candidate) -> bool:
        """Whether a design's place on the front is another under another hardware."""
        return len({rank for rank in self.ranks(one).values() if rank is not None}) > 1

    @property
    def open_elsewhere(self) -> dict[str, int]:
        """Beaten designs that cost less than the one that beats them, by other hardware.

        Under that hardware they could be on the front; their chips were not run far enough to say.
        """
        by = {one.design.number: one for one in (*self.front, *self.beaten)}
        return {
            name: sum(
                any(a < b for a, b in zip(one.values(name, self.minimise), other, strict=True))
                for one in self.beaten
                if (other := self._figures_of(by, one, name)) is not None
            )
            for name in self.hardware[1:]
        }

    def _figures_of(
        self, by: Mapping[int, Candidate], one: Candidate, name: str
    ) -> tuple[float, ...] | None:
        """What the design that beats another costs by some hardware."""
        other = by.get(one.beaten_by or 0)
        return None if other is None else other.values(name, self.minimise)

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        of = f"{self.combinations:,} combinations, {self.judged:,} judged"
        return f"Exploration ({of}): {len(self.front)} designs on the front"

    def shown(self) -> Table:
        """A row for each design of the front: its choices, and its figures with their bands."""
        names = [QUANTITIES[quantity][0] for quantity in self.minimise]
        columns = ("place", *self.varied, f"low of {self.requirement.of} [%]", *names)
        rows: list[tuple[str, ...]] = []
        for place, one in enumerate(self.front, start=1):
            texts, figures = _texts(one.design), one.costs[self.hardware[0]]
            low = "" if one.raced.end is None else f"{100 * one.raced.end:.2f}"
            shown = [
                "" if figures is None else in_unit(figures[quantity], QUANTITIES[quantity][1])
                for quantity in self.minimise
            ]
            rows.append((str(place), *(texts[name] for name in self.varied), low, *shown))
        return Table(columns, tuple(rows))

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each design of the front; see `rows`."""
        return self.rows()

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc explore --json` prints it; docs/explore.md names the keys."""
        return {
            "format": FORMAT,
            "title": self.title,
            "description": dict(self.shared),
            "varied": list(self.varied),
            "combinations": self.combinations,
            "searched": self.searched,
            "goal": self.goal,
            "required": self.requirement.to_json(),
            "hardware": list(self.hardware),
            "minimise": [QUANTITIES[quantity][0] for quantity in self.minimise],
            "met": self.met,
            "front": [self._json(one) for one in self.front],
            "beaten": [self._json(one) for one in self.beaten],
            "missed": [self._json(one) for one in self.missed],
            "refused": [
                {"design": one.design.number, "choices": _texts(one.design), "why": one.why}
                for one in self.refused
            ],
            "open_elsewhere": self.open_elsewhere,
            "runs": self.runs,
            "images": self.images,
            "share": self.share,
            "assumptions": list(self.assumptions),
            "seconds": self.seconds,
        }

    def _json(self, one: Candidate) -> dict[str, Any]:
        raced, on_front = one.raced, any(one is other for other in self.front)
        return {
            "design": one.design.number,
            "choices": _texts(one.design),
            "folder": one.folder,
            "costs": {
                name: None
                if figures is None
                else {QUANTITIES[q][0]: figures[q].to_json() for q in QUANTITIES}
                for name, figures in one.costs.items()
            },
            "ideal": one.ideal,
            "percentile": None if raced.at is None else raced.at.kpp.to_json(),
            "low" if raced.at is not None else "low_at_most": raced.end,
            "chips": raced.chips,
            "images_run": raced.images,
            "beaten_by": one.beaten_by,
            "rank": self.ranks(one) if on_front else None,
            "rank_depends": self.depends(one) if on_front else None,
        }

    def rows(self) -> Iterator[dict[str, Cell]]:
        """A row for each design of the front, for CSV; `nvmc compile --from FILE#N` reads one."""
        for place, one in enumerate(self.front, start=1):
            assert one.raced.at is not None
            kpp = one.raced.at.kpp
            yield {
                "place": place,
                "design": one.design.number,
                **_texts(one.design),
                "kpp": kpp.value,
                "low": one.raced.end,
                "low_of": self.requirement.of,
                "ideal": one.ideal,
                **self._columns(one),
                "rank_depends": str(self.depends(one)).lower(),
                "folder": one.folder,
            }

    def _columns(self, one: Candidate) -> dict[str, Cell]:
        """Every figure with its band, under every hardware."""
        found: dict[str, Cell] = {}
        for name in self.hardware:
            figures = one.costs[name]
            for quantity, (column, _) in QUANTITIES.items():
                figure: Figure | None = None if figures is None else figures[quantity]
                for end in ("", "_low", "_high"):
                    value = None if figure is None else getattr(figure, end[1:] or "value")
                    found[f"{name}_{column}{end}"] = value
        return found


def _texts(design: Design) -> dict[str, str]:
    return {name: text_of(value) for name, value in design.choices.items()}
