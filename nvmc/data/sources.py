"""What the readers of data sets are given, and what they give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nvmc.data.files import SPLITS, Split
from nvmc.errors import DataError, unknown
from nvmc.rng import stream

__all__ = ["SCALED", "Found", "Kind", "Source", "by_thing", "mixed", "positive", "size_of"]

SCALED = ("mean", "std")
"""Options of every set whose values are pixels."""


@dataclass(frozen=True)
class Source:
    """One split of a data set, as a text names it.

    Attributes:
        kind: What kind of set it is: a key of `nvmc.data.READERS`.
        folder: Where its files lie; not looked at by sets that come with a package.
        split: Which part.
        limit: At most so many of its images are wanted; None for all. A reader may give more.
        options: Its options by name, as they were written.
    """

    kind: str
    folder: Path
    split: Split
    limit: int | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    def first(self, count: int) -> int:
        """How many of so many images are wanted."""
        return count if self.limit is None else min(count, self.limit)


@dataclass(frozen=True)
class Found:
    """What a reader found.

    Attributes:
        x: Images or the like (N, ...): unsigned bytes are pixels, which are divided by 255.
        y: Classes, or target values where they are floating-point numbers, (N, ...).
        used: Options that the reader chose itself, so that the name can say them.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    used: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Kind:
    """A kind of data set.

    Attributes:
        read: Reads one split.
        options: The options that it takes.
        has_folder: Whether its files lie in a folder, as `KIND:DIR`; else it comes with a package.
        whole: Whether a folder is every split at once, since it tells none apart.
    """

    read: Callable[[Source], Found]
    options: Sequence[str] = ()
    has_folder: bool = True
    whole: Callable[[Path], bool] = lambda _: False

    def check(self, source: Source) -> None:
        """Complain about an option that this kind has not.

        Raises:
            DataError: There is one.
        """
        for name in source.options:
            if name not in self.options:
                raise DataError(unknown(f"option of {source.kind}", name, self.options))


def mixed(count: int) -> list[int]:
    """An order of so many things that mixes their classes; always the same."""
    return [int(index) for index in stream(0, 0, "order of files").permutation(count)]


def by_thing(count: int, split: Split) -> list[int]:
    """Which of so many things are in a split of a set that has none of its own.

    In the `mixed` order, the r-th is test when r % 10 is 7 to 9, validation when it is 6, and
    train otherwise.
    """
    parts = [SPLITS[0]] * 6 + [SPLITS[1]] + [SPLITS[2]] * 3
    return [index for place, index in enumerate(mixed(count)) if parts[place % 10] == split]


def positive(source: Source, name: str, default: int) -> int:
    """An option that is a whole number above 0.

    Raises:
        DataError: It is another thing.
    """
    text = source.options.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10**6:
        raise DataError(f"{name} of {source.kind} is {text!r}; expected a whole number above 0")
    return int(text)


def size_of(source: Source) -> tuple[int, int] | None:
    """The option `size`, as rows and columns; None where it is not given.

    Raises:
        DataError: It is none.
    """
    text = source.options.get("size")
    if text is None:
        return None
    rows, _, columns = text.partition("x")
    parts = (rows, columns or rows)
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 10**5 for part in parts):
        raise DataError(
            f"size of {source.kind} is {text!r}; expected ROWSxCOLUMNS, such as size=32x32"
        )
    return int(parts[0]), int(parts[1])
