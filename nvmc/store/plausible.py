"""Whether rows of a store can be results at all: what is impossible is refused, not used.

A store is a file that may come from anyone. SQLite keeps text in a column of numbers, and whoever
edits a sum seldom edits all that follows from it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, cast

import numpy as np

from nvmc.errors import StoreError

__all__ = [
    "LAST_MOMENT",
    "Expected",
    "Plausible",
    "Total",
    "check_facts",
    "implausible",
    "key_of",
    "object_of",
]

Total = float | tuple[float, ...]
"""The sums of a chip: one, or several."""
Limits = tuple[float, float]

LAST_MOMENT = 253_402_300_800
"""The year 10000, in seconds since 1970."""

_TEXT, _WHOLE, _REAL = (str, NoneType), (int, NoneType), (int, float, NoneType)
_FACTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("nvmc", "created", "network", "device", "data", "metric", "engine"), _TEXT),
    "data_note": _TEXT,
    **dict.fromkeys(("fidelity", "output"), _TEXT),
    **dict.fromkeys(("images", "limit", "mc_passes", "decisions", "seed"), _WHOLE),
    **dict.fromkeys(("sigma", "time_s", "ideal"), _REAL),
    **dict.fromkeys(("noise", "sources", "compensate"), (list,)),
    "periphery": (dict,),
}
"""What `nvmc results` reads of a key and a description, and its types."""
_ALIKE = ("images", "fidelity", "mc_passes", "seed")
"""What both say."""


@dataclass(frozen=True)
class Expected:
    """What the rows of an experiment can be; whatever is not known allows everything.

    Attributes:
        images: How many there are.
        whole: Whether sums count something, so that they are whole numbers.
        values: Least and greatest value of a chip.
        sums: Of two numbers of images, the least and greatest sum over those from the first to
            before the second, in the order in which chips run them; of several sums, those of each.
        value: Sums over all images -> the chip's value.
        count: How many sums a chip has; None where that is not known.
    """

    images: int | None = None
    whole: bool = False
    values: Limits = (-math.inf, math.inf)
    sums: Callable[[int, int], tuple[Total, Total]] = lambda first, last: (-math.inf, math.inf)
    value: Callable[[Any], float] | None = None
    count: int | None = None


class Plausible:
    """Complains of rows that are no results.

    Args:
        path: The file, for people.
        experiment: The id.
        expected: What rows can be.
    """

    def __init__(self, path: Path, experiment: str, expected: Expected) -> None:
        self._where = path, experiment
        self._expected = expected
        self._limits: dict[tuple[int, int], tuple[Total, Total]] = {}

    def chip(self, chip: Any, images: Any, total: Any, value: Any) -> None:
        """Check what a chip has come to.

        Raises:
            StoreError: It is not possible.
        """
        if fault := self._sum_fault(chip, images, total) or self._value_fault(images, total, value):
            raise implausible(*self._where, f"chip {chip!r} {fault}", chip)

    def part(self, chip: Any, images: Any, total: Any, last: tuple[int, Total]) -> None:
        """Check a sum on the way.

        Args:
            chip: Of this chip.
            images: Over so many images.
            total: The sum.
            last: Images and sum that the chip has come to; (0, 0) where it has no row.

        Raises:
            StoreError: It is not possible.
        """
        fault = self._sum_fault(chip, images, total)
        if not fault and images > last[0]:
            fault = f"has a sum of {images} images, but was run on {last[0]}"
        end = last[1]
        if not fault and isinstance(end, tuple):
            fault = f"has a sum of {images} images, and several of {last[0]}"
        elif not fault and total is not None and not isinstance(end, tuple) and end == end:
            low, high = cast(Limits, self._between(images, last[0]))
            more = 0.0 if end == total else end - total
            # Another processor rounds another way.
            slack = 1e-6 * max((abs(x) for x in (total, end) if math.isfinite(x)), default=0)
            if not low - slack <= more <= high + slack:
                fault = f"has the sum {total!r} of {images} images, and {end!r} of {last[0]}"
        if fault:
            raise implausible(*self._where, f"chip {chip!r} {fault}", chip)

    def moment(self, chip: Any, written: Any) -> None:
        """Check when a chip was written.

        Raises:
            StoreError: It is no moment.
        """
        if type(written) is not int or not 0 <= written < LAST_MOMENT:
            fault = f"chip {chip!r} was written at {written!r}; expected seconds since 1970"
            raise implausible(*self._where, fault, chip)

    def _sum_fault(self, chip: Any, images: Any, total: Any) -> str | None:
        expected = self._expected
        if type(chip) is not int or chip < 0:
            return "has a number that is none; expected a whole number from 0"
        if type(images) is not int or images < 1:
            return f"was run on {images!r} images; expected a whole number from 1"
        if expected.images is not None and images > expected.images:
            return f"was run on {images:,} images, and there are {expected.images:,}"
        if fault := _kind_fault(total, expected.count):
            return fault
        if isinstance(total, tuple):
            return self._sums_fault(images, cast(tuple[float, ...], total))
        if expected.whole and (total is None or not total.is_integer()):
            return f"has the sum {'NaN' if total is None else total!r}; expected a whole number"
        low, high = cast(Limits, self._between(0, images))
        if (total is None and expected.images is not None) or (
            total is not None and not low <= total <= high
        ):
            said = "NaN" if total is None else f"{total!r}"
            return f"has the sum {said} of {images} images; expected {low:g} to {high:g}"
        return None

    def _sums_fault(self, images: int, total: tuple[float, ...]) -> str | None:
        """What is wrong with several sums."""
        low, high = (np.broadcast_to(end, len(total)) for end in self._between(0, images))
        bad = np.flatnonzero(~((low <= total) & (total <= high)))
        if not bad.size:
            return None
        at = int(bad[0])
        said = f"{total[at]!r} of {images} images; expected {low[at]:g} to {high[at]:g}"
        return f"has as sum {at} {said}"

    def _value_fault(self, images: int, total: Total | None, value: Any) -> str | None:
        expected = self._expected
        complete = None if expected.images is None else images == expected.images
        if value is None:
            return "was run on all images and has no value" if complete else None
        if type(value) is not float:
            return f"has the value {value!r}; expected a number"
        if complete is False:
            return f"has a value after {images} of {expected.images} images"
        low, high = expected.values
        if not low <= value <= high:
            return f"has the value {value!r}; expected {low:g} to {high:g}"
        if expected.value is not None and total is not None:
            wanted = expected.value(total)
            if not math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12):
                return f"has the value {value!r}, but its sum {total!r} gives {wanted!r}"
        return None

    def _between(self, first: int, last: int) -> tuple[Total, Total]:
        """The limits of a sum over images `first` … `last` - 1."""
        if first == last:
            return 0.0, 0.0
        if (first, last) not in self._limits:
            self._limits[first, last] = self._expected.sums(first, last)
        return self._limits[first, last]


def _kind_fault(total: Any, count: int | None) -> str | None:
    """What is wrong with what stands for the sums of a chip; None is NaN."""
    several = isinstance(total, tuple)
    if not several and total is not None and type(total) is not float:
        return f"has the sum {total!r}; expected a number"
    found = len(cast(tuple[Any, ...], total)) if several else 1
    if count is not None and found != count:
        return f"has {found} sums; expected {count}"
    return None


def implausible(path: Path, experiment: str, fault: str, chip: Any = None) -> StoreError:
    """The error of an experiment that holds something impossible, if of a chip, of which."""
    short = experiment[:12]
    only = f" --chip {chip}" if type(chip) is int else ""
    return StoreError(
        f"{str(path)!r} was damaged or edited: experiment {short}: {fault}; nothing was changed: "
        f"`nvmc results delete {short}{only} --store {path}` deletes it; --store FILE and "
        "--no-store do not use it"
    )


def check_facts(
    path: Path, identifier: str, key: Mapping[str, Any], info: Mapping[str, Any]
) -> None:
    """Complain of a key or a description that cannot be read, or that contradict each other.

    Raises:
        StoreError: They do.
    """
    for facts in (key, info):
        for name, kinds in _FACTS.items():
            if name in facts and type(facts[name]) not in kinds:
                raise implausible(path, identifier, f"it says {name} is {facts[name]!r}")
        for source in (*facts.get("noise", ()), *facts.get("sources", ())):
            if not isinstance(source, dict) or not isinstance(source.get("type"), str):
                raise implausible(path, identifier, f"it has the noise source {source!r}")
        for one in facts.get("compensate", ()):
            if not isinstance(one, dict) or not isinstance(one.get("type"), str):
                raise implausible(path, identifier, f"it has the compensation {one!r}")
    done = [facts.get("compensate", []) for facts in (info, key)]  # neither has it where none is
    if done[0] != done[1]:
        fault = f"it says compensate is {done[0]!r}, and was begun with {done[1]!r}"
        raise implausible(path, identifier, fault)
    for name in _ALIKE:
        if name in key and name in info and key[name] != info[name]:
            fault = f"it says {name} is {info[name]!r}, and was begun with {key[name]!r}"
            raise implausible(path, identifier, fault)


def key_of(path: Path, identifier: Any, key: Any) -> dict[str, Any]:
    """The key of an experiment, whose hash is its id.

    Raises:
        StoreError: It is no such key.
    """
    if not isinstance(identifier, str):
        raise StoreError(
            f"{str(path)!r} is damaged: an experiment's id is {identifier!r}; nothing was changed "
            "in it: restore a backup, or move it away and simulate again"
        )
    found = object_of(path, identifier, "key", key)
    if hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest() != identifier:
        raise implausible(path, identifier, "the hash of its key is not its id")
    return found


def _finite(text: str) -> float:
    """A number of JSON, which has neither NaN nor infinity, but numbers that are too large."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def object_of(path: Path, identifier: str, name: str, text: Any) -> dict[str, Any]:
    """A JSON object of an experiment.

    Raises:
        StoreError: It is none.
    """
    try:
        found: Any = None
        if isinstance(text, str):
            found = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise implausible(path, identifier, f"its {name} is no JSON object")
    return cast(dict[str, Any], found)
